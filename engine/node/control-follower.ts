import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { ControlClient, RegisterNodeInit } from '../control/index.ts';
import type { NodeMap } from './node-map.ts';

export type ControlFollowerOptions = {
  readonly control: Pick<ControlClient, 'registerNode' | 'watchMap' | 'getMap'>;
  readonly node: RegisterNodeInit;
  readonly map: NodeMap;
  /** Control says that no volume was ever created: there is nothing to take over. */
  readonly onGenesis: () => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
const CALL_TIMEOUT_MS = 10_000;

/**
 * Announces the node to control and follows its maps, for ever: when control goes away the node serves on with the last
 * map, and announces itself again when control is back.
 */
export class ControlFollower {
  readonly #options: ControlFollowerOptions;

  constructor(options: ControlFollowerOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { random, logger } = this.#options;
    let delayMs = FIRST_DELAY_MS;
    let told = false;
    while (!signal.aborted) {
      try {
        await this.#register(signal);
        delayMs = FIRST_DELAY_MS;
        told = false;
        await this.#follow(signal);
      } catch (err) {
        if (signal.aborted) return;
        if (!NabuError.is(err)) throw err;
        if (!told) logger.warn('control is away, the last map counts', { reason: err.message });
        told = true;
      }
      await this.#pause(delayMs * (0.5 + random.float()), signal);
      delayMs = Math.min(MAX_DELAY_MS, delayMs * 2);
    }
  }

  /** A peer that has a newer map than ours says that control is back: no reason to wait on. */
  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    const { clock, map } = this.#options;
    const stop = new AbortController();
    const end = (): void => stop.abort();
    const forget = map.onHint(end);
    signal.addEventListener('abort', end, { once: true });
    try {
      await clock.sleep(signal.aborted ? 0 : delayMs, stop.signal).catch(() => undefined);
    } finally {
      forget();
      signal.removeEventListener('abort', end);
    }
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { control, node, map, onGenesis, logger } = this.#options;
    const answer = await control.registerNode(node, { timeoutMs: CALL_TIMEOUT_MS, signal });
    map.adopt(answer.map);
    if (answer.genesis) await onGenesis();
    logger.info('registered', { mapEpoch: map.current().epoch, genesis: answer.genesis });
  }

  /** Throws when the stream ends. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { control, map } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const next of control.watchMap(map.current().epoch, stop.signal)) map.adopt(next);
    } finally {
      signal.removeEventListener('abort', onAbort);
      stop.abort();
    }
  }
}
