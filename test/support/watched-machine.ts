import { type Logger, silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import {
  type KernelEvent,
  type KernelEvents,
  LiveMachine,
  type LiveMachineOptions,
  type Probe,
  type Pulse,
  type PulseOptions,
} from '../../device-plugin/machine/index.ts';
import type { MachineDescription } from './machine-description.ts';
import { isMarker, MachineTree } from './machine-tree.ts';

/** The kernel's events in the test's hands. */
class EventsDouble implements KernelEvents {
  readonly #listeners = new Set<(events: readonly KernelEvent[]) => void>();
  isClosed = false;

  listen(listener: (events: readonly KernelEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.isClosed = true;
    this.#listeners.clear();
  }

  say(...events: readonly KernelEvent[]): void {
    for (const listener of this.#listeners) listener(events);
  }
}

/** A pulse that finds what the test says. Paths are those of an inventory. */
class PulseDouble implements Pulse {
  readonly options: PulseOptions;
  readonly #inTree: (path: string) => string;
  probes: readonly Probe[] = [];
  isClosed = false;
  #hanging: readonly string[] = [];

  constructor(options: PulseOptions, inTree: (path: string) => string) {
    this.options = options;
    this.#inTree = inTree;
  }

  async watch(probes: readonly Probe[]): Promise<void> {
    this.probes = probes;
  }

  close(): void {
    this.isClosed = true;
  }

  finds(...paths: readonly string[]): void {
    this.options.onNews({ changed: this.#indexes(paths), hanging: this.#indexes(this.#hanging) });
  }

  hangs(...paths: readonly string[]): void {
    const changed = [...new Set([...paths, ...this.#hanging])];
    this.#hanging = paths;
    this.finds(...changed);
  }

  #indexes(paths: readonly string[]): readonly number[] {
    return paths.map((path) => {
      const index = this.probes.findIndex((probe) => probe.path === this.#inTree(path));
      if (index < 0) throw new RangeError(`${path} is not looked at`);
      return index;
    });
  }
}

/** A recorded machine that is watched, with its events and its pulse in the test's hands. */
export class WatchedMachine {
  readonly tree: MachineTree;
  readonly machine: LiveMachine;
  readonly events = new EventsDouble();
  readonly logged: string[] = [];
  #pulse: PulseDouble | undefined;
  /** How often the machine said that it is another. */
  changes = 0;

  constructor(description: MachineDescription, options: Partial<LiveMachineOptions> = {}) {
    this.tree = new MachineTree(description);
    const at = (message: string): void => {
      this.logged.push(message);
    };
    const logger: Logger = { ...silentLogger, error: at, warn: at, info: at, child: () => logger };
    this.machine = new LiveMachine({
      roots: this.tree.roots,
      clock: realClock,
      logger,
      discovery: { isCharDevice: isMarker },
      openEvents: async () => ({ events: this.events, gapsOf: async () => [] }),
      openPulse: (opened) => {
        this.#pulse = new PulseDouble(opened, (path) => this.tree.at(path.slice(1)));
        return this.#pulse;
      },
      ...options,
    });
    this.machine.watch(() => this.changes++);
  }

  get pulse(): PulseDouble {
    if (this.#pulse === undefined) throw new RangeError('not started');
    return this.#pulse;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close();
    this.tree[Symbol.dispose]();
  }
}
