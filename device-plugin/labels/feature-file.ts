import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { NodeLabels } from './node-labels.ts';

export type FeatureFileOptions = {
  /** Where node-feature-discovery looks, /etc/kubernetes/node-feature-discovery/features.d. Made when it is not there. */
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
};

const NAME = 'nabustore';
/** Its worker runs as another user. */
const MODE = 0o644;
/** A link that goes up and down must not write to the API server each time. */
const PAUSE_MS = 10_000;
const TEMPORARY = /^\.nabustore\.[0-9a-f-]{36}\.tmp$/;

/** The local source of node-feature-discovery: a line NAME=VALUE for each label, comments with '#'. Pure. */
export function featureFileText(labels: NodeLabels): string {
  const lines = [...labels].map(([name, value]) => `${name}=${value}`);
  return ['# Written by the device plugin of NabuStore.', ...lines, ''].join('\n');
}

/**
 * The labels of this node as a file for node-feature-discovery, which puts them on the node: so this process needs no right
 * to change nodes. Readers see an old file or a new one, never a part: it is made under a name that begins with a dot, which
 * node-feature-discovery does not read.
 */
export class FeatureFile {
  readonly #options: FeatureFileOptions;
  readonly #path: string;
  #wanted: string | undefined;
  #written: string | undefined;
  #writing: Promise<void> = Promise.resolve();
  #pause: Timer | undefined;
  #isClosed = false;
  #isFailing = false;

  constructor(options: FeatureFileOptions) {
    this.#options = options;
    this.#path = join(options.folder, NAME);
  }

  /** Makes the file say this: now, or within ten seconds when it was written in the last ten. A failure is logged, and tried again. */
  update(labels: NodeLabels): void {
    this.#wanted = featureFileText(labels);
    if (this.#pause === undefined) this.#flush();
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Ends the writing. `remove`: the labels go with this process. */
  async close({ remove }: { readonly remove: boolean }): Promise<void> {
    this.#isClosed = true;
    this.#pause?.cancel();
    await this.settled();
    if (remove) await rm(this.#path, { force: true });
  }

  #flush(): void {
    const text = this.#wanted;
    if (this.#isClosed || text === undefined || text === this.#written) return;
    this.#pause = this.#options.clock.setTimer(() => {
      this.#pause = undefined;
      this.#flush();
    }, PAUSE_MS);
    this.#writing = this.#writing.then(() => this.#write(text));
  }

  async #write(text: string): Promise<void> {
    const { folder, logger } = this.#options;
    try {
      await mkdir(folder, { recursive: true });
      if (this.#written === undefined) await this.#removeLeftovers();
      await this.#replace(text);
      this.#written = text;
      if (this.#isFailing) logger.info('the labels of this node are written again', { path: this.#path });
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) logger.warn('the labels of this node are not written', { path: this.#path, error: err });
      this.#isFailing = true;
    }
  }

  async #replace(text: string): Promise<void> {
    const temporary = join(this.#options.folder, `.${NAME}.${randomUUID()}.tmp`);
    try {
      const file = await open(temporary, 'wx', MODE);
      try {
        await file.chmod(MODE); // whatever the umask
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
    } catch (err) {
      await rm(temporary, { force: true });
      throw err;
    }
  }

  /** Of a process that was killed in the middle. */
  async #removeLeftovers(): Promise<void> {
    const { folder } = this.#options;
    for (const name of await readdir(folder)) {
      if (TEMPORARY.test(name)) await rm(join(folder, name), { force: true });
    }
  }
}
