import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../../common/logging/index.ts';
import type { DeviceId, ResourceName } from '../kubelet/index.ts';

const recordSchema = z.strictObject({ ids: z.array(z.string()), files: z.array(z.string()) });

/**
 * Which device files containers were given: the kubelet keeps an answer of Allocate for as long as the pod lives, and a driver
 * that is loaded again, or a machine that is booted, gives their numbers to other devices. Written after the answer, in no
 * container's way: what is not written down is not known, and nothing is held against a container then.
 */
export class GrantedFiles {
  readonly #folder: string;
  readonly #logger: Logger;
  /** As they are on the disk or will be, by the first id of each container. */
  readonly #records = new Map<string, string>();
  readonly #unwritten = new Set<string>();
  #writing: Promise<void> | undefined;
  #isFailing = false;

  constructor(stateDir: string, resource: ResourceName, logger: Logger) {
    this.#folder = join(stateDir, 'granted', resource.slice(resource.indexOf('/') + 1));
    this.#logger = logger;
  }

  /** Known from here on; written down soon. */
  note(ids: readonly DeviceId[], files: readonly string[]): void {
    const sorted = [...ids].sort();
    const [first = ''] = sorted;
    const text = JSON.stringify({ ids: sorted, files });
    if (this.#records.get(first) === text) return;
    this.#records.set(first, text);
    this.#unwritten.add(first);
    this.#writing ??= this.#write();
  }

  /** Undefined where it is not known. */
  async of(ids: readonly DeviceId[]): Promise<readonly string[] | undefined> {
    const sorted = [...ids].sort();
    const [first = ''] = sorted;
    const text = this.#records.get(first) ?? (await readFile(join(this.#folder, first), 'utf8').catch(() => ''));
    const { data } = recordSchema.safeParse(parsed(text));
    return data !== undefined && data.ids.join() === sorted.join() ? data.files : undefined;
  }

  async #write(): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      for (const id of this.#unwritten) {
        const text = this.#records.get(id) ?? '';
        await writeFile(join(this.#folder, id), text);
        if (this.#records.get(id) === text) this.#unwritten.delete(id);
      }
      this.#isFailing = false;
    } catch (err) {
      // What is unwritten is tried again with the next.
      if (!this.#isFailing) this.#logger.warn('what containers were given is not written down', { error: err });
      this.#isFailing = true;
    } finally {
      this.#writing = undefined;
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // torn, or not there
  }
}
