import { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type DiscoveryRoots, discover, type Inventory, StuckReads } from '../discovery/index.ts';
import type { Unsubscribe } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';

export class PolledMachine implements MachineWatch {
  readonly #roots: DiscoveryRoots;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stuck = new StuckReads();
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  #inventory: Inventory | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(roots: DiscoveryRoots, clock: Clock, logger: Logger) {
    this.#roots = roots;
    this.#clock = clock;
    this.#logger = logger;
  }

  get inventory(): Inventory {
    if (this.#inventory === undefined) throw new RangeError('not started');
    return this.#inventory;
  }

  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    this.#inventory = await this.#discover();
    this.#running = this.#poll();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(1000, signal);
        const found = await this.#discover();
        if (JSON.stringify(found) === JSON.stringify(this.#inventory)) continue;
        this.#inventory = found;
        for (const listener of [...this.#listeners]) listener();
      } catch (err) {
        if (!signal.aborted) this.#logger.error('looking at the machine failed', { error: err });
      }
    }
  }

  async #discover(): Promise<Inventory> {
    using deadline = new Deadline({
      clock: this.#clock,
      operation: 'device discovery',
      timeoutMs: 60_000,
      parent: this.#stop.signal,
    });
    return await discover(this.#roots, { signal: deadline.signal, clock: this.#clock, stuck: this.#stuck });
  }
}
