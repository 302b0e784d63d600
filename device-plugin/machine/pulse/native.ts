import { createRequire } from 'node:module';
import { raceAbort } from '../../../common/concurrency/index.ts';
import { fromNative, NabuError } from '../../../common/errors/index.ts';
import type { Probe, Pulse, PulseOptions } from '../pulse.ts';

type NativePulse = {
  /** Answers the number of this watch. */
  watch(kinds: Uint8Array, paths: readonly string[]): number;
  close(): void;
};
type OnNews = (settled: number, changed: readonly number[], hanging: readonly number[]) => void;
type PulseAddon = { Pulse: new (everyMs: number, hangMs: number, onNews: OnNews) => NativePulse };

/** The numbers of native/pulse/probe.h. */
const KINDS: Readonly<Record<Probe['kind'], number>> = { text: 0, names: 1, link: 2, node: 3 };
/** A machine with 1,000 HCAs and as many drives has half of it. */
const PROBE_LIMIT = 16_384;
const ADDON_PATH = '../../../build/native/pulse/pulse.node';
let addon: PulseAddon | undefined;

function load(): PulseAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as PulseAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/pulse/pulse.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'pulse', driver: 'native', reason }, { cause });
  }
}

/**
 * Looks on a thread of its own, and wakes nobody while nothing changes. A file that hangs keeps one more thread until it
 * answers. Sixty files every second take 0.03 % of a core; through Node's pool it would be ten times as much.
 */
export class ThreadedPulse implements Pulse {
  readonly #native: NativePulse;
  #waiting: { readonly watch: number; readonly resolve: () => void } | undefined;

  /** Throws RESOURCE_EXHAUSTED (threads, descriptors), INVALID_ARGUMENT, DRIVER_UNAVAILABLE (not built). */
  constructor({ everyMs, hangMs, onNews }: PulseOptions) {
    const { Pulse } = load();
    try {
      this.#native = new Pulse(everyMs, hangMs, (settled, changed, hanging) => {
        if (changed.length > 0) onNews({ changed, hanging });
        this.#settle(settled);
      });
    } catch (err) {
      throw fromNative(err);
    }
  }

  async watch(probes: readonly Probe[], signal: AbortSignal): Promise<void> {
    const kept = probes.slice(0, PROBE_LIMIT);
    const kinds = Uint8Array.from(kept, ({ kind }) => KINDS[kind]);
    const settled = Promise.withResolvers<void>();
    try {
      const watch = this.#native.watch(
        kinds,
        kept.map(({ path }) => path),
      );
      this.#waiting?.resolve();
      this.#waiting = { watch, resolve: settled.resolve };
    } catch (err) {
      throw fromNative(err);
    }
    await raceAbort(settled.promise, signal, 'the first look at the machine');
  }

  close(): void {
    this.#native.close();
    this.#waiting?.resolve();
  }

  #settle(settled: number): void {
    if (this.#waiting === undefined || this.#waiting.watch > settled) return;
    this.#waiting.resolve();
    this.#waiting = undefined;
  }
}
