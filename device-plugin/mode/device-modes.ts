import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type Unsubscribe, WakeUp } from '../kubelet/index.ts';
import type { PodResources } from '../pod-resources/index.ts';
import type { Cause } from '../resources/index.ts';
import { type DeviceMode, type Held, modeCause } from './device-mode.ts';
import { ModeFile } from './mode-file.ts';
import { pluginHolders } from './plugin-holders.ts';

export type DeviceModesOptions = {
  /** Where the modes are kept. */
  readonly path: string;
  readonly podResources: Pick<PodResources, 'list'>;
  /** What claims hold now (DraDriver.holders); nothing where there are none. */
  readonly claimHolders: () => Held;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often to look whether the last holder has gone. */
  readonly pollMs?: number;
  /**
   * How long nobody may have been seen with a device that the device plugin offered, after it was taken back: the kubelet
   * shows what it has just given out a moment later.
   */
  readonly settleMs?: number;
};

const POLL_MS = 2000;
/** A kubelet that restarts answers before it knows its pods. */
const SETTLE_MS = 10_000;
const ASK_MS = 5000;

type Change = {
  readonly to: DeviceMode;
  cause: Cause;
  /** When nobody was first seen with it, without a break since. */
  freeSinceMs: number | undefined;
};

/**
 * Which device is given out in which mode. The configuration wants one; a device that was offered in the other waits until
 * nobody has it there any more, and is offered by neither meanwhile. What was offered last outlives this process, and is
 * written down before a device is offered otherwise.
 */
export class DeviceModes {
  readonly #options: DeviceModesOptions;
  readonly #logger: Logger;
  readonly #file: ModeFile;
  readonly #wake: WakeUp;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #changes = new Map<string, Change>();
  #settled = new Map<string, DeviceMode>();
  #savedText = '';
  /** Why they could not be kept, as it was logged. */
  #failure: string | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: DeviceModesOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ component: 'modes' });
    this.#file = new ModeFile(options.path, this.#logger);
    this.#wake = new WakeUp(options.clock);
  }

  async start(): Promise<void> {
    this.#settled = new Map(await this.#file.load());
    this.#savedText = textOf(this.#settled);
    this.#running = this.#run();
  }

  /**
   * To be asked for each device in the mode that the configuration has it in, again whenever the answer matters: why it may
   * not be given out in that mode yet. Asking is what begins a change. Before `start` all are held back.
   */
  withheld(device: string, mode: DeviceMode): Cause | undefined {
    if (this.#settled.get(device) === mode) {
      this.#changes.delete(device);
      return undefined;
    }
    const under = this.#changes.get(device);
    if (under?.to === mode) return under.cause;
    // A device that was never offered can be at once where that is certain without asking the kubelet.
    const known = { plugin: undefined, dra: this.#options.claimHolders() };
    const cause = modeCause(device, mode, known);
    if (cause === undefined && !this.#settled.has(device)) {
      this.#settled.set(device, mode);
      this.#wake.call();
      return undefined;
    }
    const waiting: Cause = cause ?? { code: 'mode', detail: `${device} changes to mode ${mode}` };
    this.#changes.set(device, { to: mode, cause: waiting, freeSinceMs: undefined });
    this.#wake.call();
    return waiting;
  }

  /** The listener hears that `withheld` would say something else of some device. */
  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A claim or a pod may have ended: look now. */
  look(): void {
    this.#wake.call();
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'watching modes' }));
    await this.#running;
    this.#listeners.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const isWaiting = this.#changes.size > 0 || textOf(this.#settled) !== this.#savedText;
      await this.#wake.wait(isWaiting ? (this.#options.pollMs ?? POLL_MS) : Number.POSITIVE_INFINITY, signal);
      if (signal.aborted) return;
      try {
        const changed = await this.#look();
        if (textOf(this.#settled) !== this.#savedText) await this.#save(this.#settled);
        this.#failure = undefined;
        if (changed) for (const listener of [...this.#listeners]) listener();
      } catch (err) {
        if (signal.aborted) return;
        if (String(err) !== this.#failure) this.#logger.error('the modes of devices cannot be kept', { error: err });
        this.#failure = String(err);
      }
    }
  }

  /** Whether something is to be told. */
  async #look(): Promise<boolean> {
    if (this.#changes.size === 0) return false;
    const isPluginAsked = [...this.#changes.values()].some(({ to }) => to === 'dra');
    const plugin = isPluginAsked ? await this.#pluginHolders() : undefined;
    const holders = { plugin, dra: this.#options.claimHolders() };
    const free: string[] = [];
    let isTold = false;
    for (const [device, change] of this.#changes) {
      const cause = modeCause(device, change.to, holders);
      if (cause === undefined) {
        if (this.#isSettled(device, change)) free.push(device);
        continue;
      }
      change.freeSinceMs = undefined;
      isTold ||= cause.detail !== change.cause.detail;
      change.cause = cause;
    }
    await this.#become(free);
    return isTold || free.length > 0;
  }

  #isSettled(device: string, change: Change): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    change.freeSinceMs ??= nowMs;
    // Claims are prepared here and nowhere else: what they hold is known at any moment.
    const waitMs = change.to === 'dra' && this.#settled.has(device) ? (this.#options.settleMs ?? SETTLE_MS) : 0;
    return nowMs - change.freeSinceMs >= waitMs;
  }

  async #become(devices: readonly string[]): Promise<void> {
    if (devices.length === 0) return;
    const changes = devices.flatMap((device) => {
      const change = this.#changes.get(device);
      return change === undefined ? [] : [{ device, change }];
    });
    await this.#save(new Map([...this.#settled, ...changes.map(({ device, change }) => [device, change.to] as const)]));
    for (const { device, change } of changes) {
      // Wanted otherwise while it was written: then it is as it was, and is written down so.
      if (this.#changes.get(device) !== change) continue;
      this.#settled.set(device, change.to);
      this.#changes.delete(device);
      this.#logger.info('the mode of a device is settled', { device, mode: change.to });
    }
  }

  async #save(modes: ReadonlyMap<string, DeviceMode>): Promise<void> {
    const text = textOf(modes);
    await this.#file.save(modes);
    this.#savedText = text;
  }

  async #pluginHolders(): Promise<Held | undefined> {
    const { clock, podResources } = this.#options;
    using deadline = new Deadline({
      clock,
      operation: 'asking who holds devices',
      timeoutMs: ASK_MS,
      parent: this.#stop.signal,
    });
    try {
      return pluginHolders(await podResources.list(deadline));
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      return undefined; // the cause against each device says that it cannot be told
    }
  }
}

function textOf(modes: ReadonlyMap<string, DeviceMode>): string {
  return JSON.stringify([...modes].sort());
}
