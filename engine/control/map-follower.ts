import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { abortError } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteJson, readJsonFile } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { Epoch } from '../blob/index.ts';
import { type ClusterMap, type MapSource, parseClusterMap } from '../placement/index.ts';
import type { ControlClient } from './client.ts';

export type MapFollowerOptions = {
  /** Stays the caller's. */
  readonly control: Pick<ControlClient, 'getMap' | 'watchMap'>;
  /** Where the last map is kept, so that a start needs no control. */
  readonly cachePath: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

const CALL_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2000;

/** The cluster map as control tells it. While control is away the last one is used, also by a process that starts then. */
export class MapFollower implements MapSource {
  readonly #options: MapFollowerOptions;
  readonly #listeners = new Set<(map: ClusterMap) => void>();
  readonly #stop = new AbortController();
  #map: ClusterMap;
  #following: Promise<void> = Promise.resolve();
  #refreshing: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(options: MapFollowerOptions, map: ClusterMap) {
    this.#options = options;
    this.#map = map;
  }

  /**
   * Resolves with a map: the one on disk at once, otherwise control's first, for which it waits until the signal aborts.
   * FILE_INVALID for a cache that cannot be read.
   */
  static async start(options: MapFollowerOptions, signal: AbortSignal): Promise<MapFollower> {
    await mkdir(dirname(options.cachePath), { recursive: true, mode: 0o700 });
    const cached = await readJsonFile(options.cachePath, z.unknown());
    const follower = new MapFollower(
      options,
      cached === undefined ? await firstMap(options, signal) : parseClusterMap(cached, options.cachePath),
    );
    if (cached === undefined) follower.#save();
    follower.#following = follower.#follow();
    return follower;
  }

  current(): ClusterMap {
    return this.#map;
  }

  onChange(listener: (map: ClusterMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The stream brings new maps by itself; a peer that is ahead of it shows that the stream hangs. */
  hint(epoch: Epoch): void {
    if (epoch <= this.#map.epoch || this.#refreshing !== undefined) return;
    const { control, logger } = this.#options;
    this.#refreshing = control
      .getMap({ timeoutMs: CALL_TIMEOUT_MS, signal: this.#stop.signal })
      .then((map) => this.#take(map))
      .catch((error: unknown) => logger.debug('no newer map from control', { epoch, error }))
      .finally(() => {
        this.#refreshing = undefined;
      });
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'following the cluster map' }));
    this.#listeners.clear();
    await Promise.allSettled([this.#following, this.#refreshing, this.#saving]);
  }

  async #follow(): Promise<void> {
    const { control, clock, random, logger } = this.#options;
    const { signal } = this.#stop;
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        for await (const map of control.watchMap(this.#map.epoch, signal)) {
          retryMs = FIRST_RETRY_MS;
          this.#take(map);
        }
      } catch (error) {
        if (signal.aborted) return;
        logger.debug('control does not answer, the last map is used', { epoch: this.#map.epoch, error });
      }
      await clock.sleep(retryMs * (0.5 + random.float() / 2), signal).catch(() => abortError(signal, 'following'));
      retryMs = Math.min(LAST_RETRY_MS, 2 * retryMs);
    }
  }

  #take(map: ClusterMap): void {
    const { logger } = this.#options;
    if (map.clusterId !== this.#map.clusterId) {
      logger.error('control is of another cluster, its map is not taken', {
        ours: this.#map.clusterId,
        theirs: map.clusterId,
      });
      return;
    }
    if (map.epoch <= this.#map.epoch) return;
    this.#map = map;
    logger.info('new cluster map', { epoch: map.epoch, nodes: map.nodes.length });
    this.#save();
    for (const listener of this.#listeners) listener(map);
  }

  /** One write at a time, the last one wins. A cache that cannot be written costs only a start without control. */
  #save(): void {
    const { cachePath, logger } = this.#options;
    const map = this.#map;
    this.#saving = this.#saving.then(async () => {
      if (map !== this.#map) return;
      await atomicWriteJson(cachePath, map).catch((error: unknown) =>
        logger.warn('the cluster map cannot be kept', { cachePath, error }),
      );
    });
  }
}

async function firstMap({ control, clock, logger }: MapFollowerOptions, signal: AbortSignal): Promise<ClusterMap> {
  for (;;) {
    try {
      return await control.getMap({ timeoutMs: CALL_TIMEOUT_MS, signal });
    } catch (error) {
      if (signal.aborted) throw abortError(signal, 'waiting for the first cluster map');
      if (!NabuError.is(error, 'UNAVAILABLE', 'TIMEOUT')) throw error;
      logger.debug('waiting for control', { error });
    }
    await clock.sleep(FIRST_RETRY_MS, signal);
  }
}
