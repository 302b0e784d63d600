import { rm } from 'node:fs/promises';
import { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import type { Layout } from '../common/layout/index.ts';
import type { Clock } from '../common/ports/index.ts';
import { defaultPoolSize, ensureSlot, keeperName } from '../engine/volume/index.ts';
import { logTail } from './cluster-status.ts';
import { CsiClient } from './csi-client.ts';
import { DetachedProcesses } from './detached.ts';
import { readNodeStats } from './node-stats.ts';
import { withControl } from './volume-lookup.ts';

export type ClusterShape = {
  readonly nodes: number;
  readonly deviceSizeBytes: number;
  readonly policy: string;
};
/** Told of every step, for a progress bar. */
export type StepListener = (step: string, done: number, total: number) => void;

const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 30_000;
const CALL_TIMEOUT_MS = 2_000;

export const CONTROL = 'control';
export const CSI = 'csi';

export function nodeName(index: number): string {
  return `node-${index + 1}`;
}

/** The processes of a cluster on one machine, in the order in which they need each other. Starting what runs does nothing. */
export class LocalCluster {
  readonly #layout: Layout;
  readonly #clock: Clock;
  readonly #processes: DetachedProcesses;

  constructor(layout: Layout, clock: Clock) {
    this.#layout = layout;
    this.#clock = clock;
    this.#processes = new DetachedProcesses(layout, clock);
  }

  async start(shape: ClusterShape, onStep: StepListener): Promise<void> {
    const names = Array.from({ length: shape.nodes }, (_, index) => nodeName(index));
    const slots = Array.from({ length: defaultPoolSize() }, (_, slot) => slot);
    const total = names.length + slots.length + 2;
    let done = 0;
    const step = (name: string): void => onStep(name, ++done, total);
    await this.#startControl(shape.policy);
    step(CONTROL);
    await Promise.all(
      names.map(async (name) => {
        await this.startNode(name, shape.deviceSizeBytes);
        step(name);
      }),
    );
    for (const slot of slots) {
      using deadline = this.#deadline(`starting ${keeperName(slot)}`, START_TIMEOUT_MS);
      await ensureSlot({ layout: this.#layout, clock: this.#clock }, slot, deadline);
      step(keeperName(slot));
    }
    await this.#startCsi();
    step(CSI);
  }

  /** Starts one storage node and waits until it answers. `deviceSizeBytes` counts only for a node that has no device yet. */
  async startNode(name: string, deviceSizeBytes?: number): Promise<void> {
    const size = deviceSizeBytes === undefined ? [] : ['--device-size-bytes', String(deviceSizeBytes)];
    await this.#processes.start(name, ['stor', '--dir', this.#layout.dir, '--node-id', name, ...size]);
    await this.#waitFor(name, () => this.#nodeAnswers(name));
  }

  async killNode(name: string): Promise<boolean> {
    using deadline = this.#deadline(`killing ${name}`, STOP_TIMEOUT_MS);
    return await this.#processes.stop(name, 'SIGKILL', deadline);
  }

  /** Ends one process in good order. False when it did not run. */
  async stop(name: string): Promise<boolean> {
    using deadline = this.#deadline(`stopping ${name}`, STOP_TIMEOUT_MS);
    const stopped = await this.#processes.stop(name, 'SIGTERM', deadline).catch(async (err: unknown) => {
      if (!NabuError.is(err, 'TIMEOUT')) throw err;
      using last = this.#deadline(`killing ${name}`, STOP_TIMEOUT_MS);
      return await this.#processes.stop(name, 'SIGKILL', last);
    });
    await rm(this.#layout.pidFile(name), { force: true });
    return stopped;
  }

  async #startControl(policy: string): Promise<void> {
    await this.#processes.start(CONTROL, ['control', '--dir', this.#layout.dir, '--default-policy', policy]);
    await this.#waitFor(CONTROL, () =>
      withControl(this.#layout, async (control) => (await control.health({ timeoutMs: CALL_TIMEOUT_MS })).ready),
    );
  }

  async #startCsi(): Promise<void> {
    await this.#processes.start(CSI, ['csi', '--dir', this.#layout.dir]);
    await this.#waitFor(CSI, async () => {
      using csi = new CsiClient(this.#layout);
      return await csi.ready();
    });
  }

  async #nodeAnswers(name: string): Promise<boolean> {
    const map = await withControl(this.#layout, (control) => control.getMap({ timeoutMs: CALL_TIMEOUT_MS }));
    const node = map.nodes.find(({ id }) => id === name);
    return node !== undefined && (await readNodeStats(map.clusterId, node, CALL_TIMEOUT_MS)) !== undefined;
  }

  /** Until the process answers. A process that ended meanwhile is told at once, with the end of its log. */
  async #waitFor(name: string, answers: () => Promise<boolean>): Promise<void> {
    using deadline = this.#deadline(`starting ${name}`, START_TIMEOUT_MS);
    await this.#processes.waitUntil(async () => {
      const ready = await answers().catch((err: unknown) => {
        if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT')) return false;
        throw err;
      });
      if (!ready && (await this.#processes.running(name)) === undefined) throw await this.#died(name);
      return ready;
    }, deadline);
  }

  async #died(name: string): Promise<NabuError> {
    const end = await logTail(this.#layout, name, 5);
    return NabuError.of('UNAVAILABLE', {
      target: name,
      reason: `it ended while starting; the end of ${this.#layout.logFile(name)}:\n${end}`,
    });
  }

  #deadline(operation: string, timeoutMs: number): Deadline {
    return new Deadline({ clock: this.#clock, operation, timeoutMs });
  }
}
