import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteJson, readJsonFile } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { ControlClient } from '../control/index.ts';
import { type ClusterMap, type MapSource, parseClusterMap } from '../placement/index.ts';

export type CachedMapOptions = {
  readonly path: string;
  readonly control: ControlClient;
  readonly clock: Clock;
  readonly logger: Logger;
};

const FIRST_MAP_MS = 5000;
const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 5000;

/** The cluster map as control last told it, kept on disk: a volume server starts and works while control is away. */
export class CachedMap implements MapSource {
  readonly #options: CachedMapOptions;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<(map: ClusterMap) => void>();
  #current: ClusterMap;
  #following: Promise<void> | undefined;

  private constructor(options: CachedMapOptions, current: ClusterMap) {
    this.#options = options;
    this.#current = current;
  }

  /** From the file, or else from control: waits for it until the signal aborts. Follows control until `close`. */
  static async open(options: CachedMapOptions, signal: AbortSignal): Promise<CachedMap> {
    await mkdir(dirname(options.path), { recursive: true, mode: 0o700 });
    const kept = await readJsonFile(options.path, z.unknown());
    const map = kept === undefined ? await firstMap(options, signal) : parseClusterMap(kept, options.path);
    const cached = new CachedMap(options, map);
    if (kept === undefined) await cached.#keep(map);
    cached.#following = cached.#follow();
    return cached;
  }

  current(): ClusterMap {
    return this.#current;
  }

  onChange(listener: (map: ClusterMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'following the cluster map' }));
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { control, clock, logger } = this.#options;
    const { signal } = this.#stop;
    for (let delayMs = RETRY_FIRST_MS; !signal.aborted; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      try {
        for await (const map of control.watchMap(this.#current.epoch, signal)) {
          delayMs = RETRY_FIRST_MS;
          await this.#adopt(map);
        }
      } catch (err) {
        if (signal.aborted) return;
        logger.debug('control is away, the last map is used', { epoch: this.#current.epoch, err });
      }
      await clock.sleep(delayMs, signal).catch(() => undefined);
    }
  }

  async #adopt(map: ClusterMap): Promise<void> {
    if (map.clusterId !== this.#current.clusterId) {
      this.#options.logger.error('control tells the map of another cluster', { clusterId: map.clusterId });
      return;
    }
    if (map.epoch <= this.#current.epoch) return;
    this.#current = map;
    await this.#keep(map);
    for (const listener of this.#listeners) listener(map);
  }

  async #keep(map: ClusterMap): Promise<void> {
    await atomicWriteJson(this.#options.path, map);
  }
}

async function firstMap({ control, clock, logger }: CachedMapOptions, signal: AbortSignal): Promise<ClusterMap> {
  for (;;) {
    try {
      return await control.getMap({ timeoutMs: FIRST_MAP_MS, signal });
    } catch (err) {
      if (signal.aborted) throw err;
      logger.info('waiting for control to tell the cluster map', { err });
    }
    await clock.sleep(RETRY_FIRST_MS, signal);
  }
}
