import { isDeepStrictEqual } from 'node:util';
import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import {
  type DiscoveryOptions,
  type DiscoveryRoots,
  discover,
  type Inventory,
  type P2pDma,
  recountHugePages,
  StuckReads,
} from '../discovery/index.ts';
import { type Unsubscribe, WakeUp } from '../kubelet/index.ts';
import { type EventSource, openEventSource } from './event-source.ts';
import type { KernelEvent, KernelEvents } from './kernel-events.ts';
import type { MachineWatch } from './machine-watch.ts';
import { ThreadedPulse } from './pulse/native.ts';
import type { Probe, Pulse, PulseNews, PulseOptions } from './pulse.ts';
import { isRelevant } from './relevance.ts';
import { portStatesBelow, type WatchedPath, watchedPaths } from './watched-paths.ts';

export type LiveMachineOptions = {
  readonly roots: DiscoveryRoots;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often is looked at what has no events, 1 s when not told. */
  readonly pollMs?: number;
  /** How long one look may take before the file counts as hanging, 500 ms when not told. */
  readonly hangMs?: number;
  /** How often everything is read again though nothing says so, 300 s when not told; 60 s while part of it cannot be used. */
  readonly discoverEveryMs?: number;
  readonly discovery?: Pick<DiscoveryOptions, 'isCharDevice' | 'files'>;
  readonly openEvents?: (roots: DiscoveryRoots) => Promise<EventSource>;
  readonly openPulse?: (options: PulseOptions) => Pulse;
};

/** How the machine is watched, and what that found. */
export type LiveMachineState = {
  /** Whether the kernel's events are heard; where not, what `gaps` says is found by looking, every `pollMs`. */
  readonly hasEvents: boolean;
  readonly gaps: readonly string[];
  readonly pollMs: number;
  /** Files that do not answer now, as an inventory names them. */
  readonly hanging: readonly string[];
  readonly watchedPaths: number;
  /** Whole discoveries, and counts of huge pages alone, since the start. */
  readonly discoveries: number;
  readonly recounts: number;
};

const POLL_MS = 1000;
const HANG_MS = 500;
const DISCOVER_EVERY_MS = 300_000;
/** What could not be used may be usable again, and nothing need tell so. */
const FAULTY_EVERY_MS = 60_000;
/** One change comes as many events; they are waited for that long. */
const SETTLE_MS = 50;
/** Between two discoveries, as a multiple of what the last one took: events without end take a third of a core at most. */
const REST_FACTOR = 2;
const REST_LIMIT_MS = 400;
const RETRY_MS = 1000;
const DISCOVERY_LIMIT_MS = 60_000;
const LOOK_LIMIT_MS = 5000;
const FINDINGS_LOGGED = 20;
const KERNEL_PATH = /^\/proc\/(config\.gz|kallsyms)$/;

/**
 * A machine that is watched: by the kernel's events where they can be heard, and for what has none (the state of
 * InfiniBand ports, huge pages, a file that stops answering) by small looks every `pollMs`. Either leads to a new discovery;
 * a machine on which nothing happens is read again every `discoverEveryMs`.
 */
export class LiveMachine implements MachineWatch {
  readonly #options: LiveMachineOptions;
  readonly #logger: Logger;
  readonly #wake: WakeUp;
  readonly #stop = new AbortController();
  readonly #stuck = new StuckReads(() => this.#lookSoon());
  readonly #listeners = new Set<() => void>();
  #inventory: Inventory | undefined;
  #events: KernelEvents | undefined;
  #gaps: readonly string[] = [];
  #pulse: Pulse | undefined;
  #watched: readonly WatchedPath[] = [];
  #hanging: readonly string[] = [];
  /** What has changed since it was read last. */
  #stale: 'nothing' | 'huge-pages' | 'all' = 'nothing';
  /** On the clock's own time: when the next discovery may be, when it has to be, and when huge pages have to be counted. */
  #notBeforeMs = 0;
  #dueMs = 0;
  #recountDueMs = Number.POSITIVE_INFINITY;
  #counts = { discoveries: 0, recounts: 0 };
  #running: Promise<void> = Promise.resolve();

  constructor(options: LiveMachineOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ component: 'machine' });
    this.#wake = new WakeUp(options.clock);
  }

  /** Throws FAILED_PRECONDITION before `start` has resolved. */
  get inventory(): Inventory {
    if (this.#inventory !== undefined) return this.#inventory;
    throw NabuError.of('FAILED_PRECONDITION', { operation: 'the inventory', reason: 'the machine is not watched yet' });
  }

  get state(): LiveMachineState {
    const pollMs = this.#options.pollMs ?? POLL_MS;
    const counts = { watchedPaths: this.#watched.length, ...this.#counts };
    const hasEvents = this.#events !== undefined;
    return { hasEvents, gaps: this.#gaps, pollMs, hanging: this.#hanging, ...counts };
  }

  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the machine has been read. Throws what the first discovery and the addons throw. */
  async start(): Promise<void> {
    const { roots, openEvents = openEventSource, openPulse = (options) => new ThreadedPulse(options) } = this.#options;
    try {
      // Before the first discovery: what changes from here on is heard.
      const { events, gapsOf } = await openEvents(roots);
      this.#events = events;
      events?.listen((heard) => this.#onEvents(heard));
      const { pollMs = POLL_MS, hangMs = HANG_MS } = this.#options;
      this.#pulse = openPulse({ everyMs: pollMs, hangMs, onNews: (news) => this.#onNews(news) });
      await this.#watchPaths(await portStatesBelow(roots.sysfsRoot));
      await this.#lookAtAll();
      this.#gaps = [...(await gapsOf(this.inventory)), ...this.#gaps];
    } catch (err) {
      await this.close();
      throw err;
    }
    this.#sayHow();
    this.#running = this.#keepLooking();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#events?.close();
    this.#pulse?.close();
    this.#listeners.clear();
  }

  #sayHow(): void {
    const { hasEvents, gaps, pollMs } = this.state;
    if (gaps.length === 0) this.#logger.info('the machine is watched', { hasEvents, pollMs });
    else this.#logger.warn('the machine is watched, in part by looking alone', { hasEvents, gaps, pollMs });
  }

  #onEvents(events: readonly KernelEvent[]): void {
    const { clock } = this.#options;
    const logger = this.#logger;
    const ended = events.find(({ kind }) => kind === 'ended');
    if (ended?.kind === 'ended') this.#onEnded(ended.reason);
    const relevant = events.filter((event) => this.#inventory === undefined || isRelevant(event, this.#inventory));
    if (relevant.length === 0) return;
    if (relevant.some(({ kind }) => kind === 'overflow')) logger.warn('events of the kernel were lost');
    else logger.debug('events of the kernel', { events: relevant.slice(0, FINDINGS_LOGGED) });
    if (this.#stale !== 'all') this.#notBeforeMs = Math.max(this.#notBeforeMs, clock.monotonicMs() + SETTLE_MS);
    this.#lookSoon();
  }

  #lookSoon(): void {
    this.#stale = 'all';
    this.#wake.call();
  }

  #onEnded(reason: string): void {
    this.#events?.close();
    this.#events = undefined;
    this.#gaps = [...this.#gaps, `the kernel's events ended: ${reason}`];
    this.#logger.error('no more events of the kernel: the machine is watched by looking alone', { reason });
  }

  #onNews({ changed, hanging }: PulseNews): void {
    const paths = changed.flatMap((index) => this.#watched[index] ?? []);
    const hangs = hanging.flatMap((index) => this.#watched[index] ?? []);
    this.#sayHanging(hangs.map(({ path }) => path));
    this.#setHanging(hangs);
    if (paths.length === 0) return;
    this.#logger.debug('changed', { paths: paths.slice(0, FINDINGS_LOGGED).map(({ path }) => path) });
    if (paths.some(({ scope }) => scope === 'all')) this.#stale = 'all';
    else if (this.#stale === 'nothing') this.#stale = 'huge-pages';
    this.#wake.call();
  }

  #sayHanging(hanging: readonly string[]): void {
    for (const path of hanging) {
      if (!this.#hanging.includes(path)) this.#logger.warn('a file does not answer', { path });
    }
    for (const path of this.#hanging) {
      if (!hanging.includes(path)) this.#logger.info('a file answers again', { path });
    }
  }

  #setHanging(hanging: readonly WatchedPath[]): void {
    this.#hanging = hanging.map(({ path }) => path);
    this.#stuck.withhold(hanging.flatMap(({ path, alike }) => [path, ...alike]));
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#options;
    while (!signal.aborted) {
      const nowMs = clock.monotonicMs();
      if (this.#stale === 'nothing' && nowMs >= this.#recountDueMs) this.#stale = 'huge-pages';
      if (this.#stale === 'nothing' && nowMs >= this.#dueMs) this.#stale = 'all';
      const fromMs = this.#stale === 'nothing' ? Math.min(this.#dueMs, this.#recountDueMs) : this.#notBeforeMs;
      if (fromMs > nowMs) {
        await this.#wake.wait(fromMs - nowMs, signal);
        continue;
      }
      try {
        if (this.#stale === 'huge-pages') await this.#recount();
        else await this.#lookAtAll();
      } catch (err) {
        if (signal.aborted) return;
        this.#logger.error('the machine cannot be read: what was known stands', { error: err });
        this.#stale = 'all';
        this.#notBeforeMs = clock.monotonicMs() + RETRY_MS;
      }
    }
  }

  /**
   * What hangs should be known before a discovery meets it: so there is a look before each. What a discovery read may be over
   * before the next poll, which then finds what the one before it found, and tells nothing: so there is a look at the end of
   * each, before anybody hears of it, and one that found another machine is followed by one more a poll later.
   */
  async #lookAtAll(): Promise<void> {
    const { clock, roots, pollMs = POLL_MS, discoverEveryMs = DISCOVER_EVERY_MS } = this.#options;
    const beginMs = clock.monotonicMs();
    await this.#watchPaths(this.#watched);
    this.#stale = 'nothing'; // what changes from here on is news again
    this.#recountDueMs = Number.POSITIVE_INFINITY;
    const found = await this.#within((options) => discover(roots, options));
    this.#counts.discoveries++;
    // What is new to look at was not looked at while the discovery read it.
    if (await this.#watchPaths(watchedPaths(found))) this.#stale = 'all';
    const endMs = clock.monotonicMs();
    this.#notBeforeMs = endMs + Math.min(REST_LIMIT_MS, REST_FACTOR * (endMs - beginMs));
    const isOther = this.#publish(found);
    const againMs = found.findings.length === 0 ? discoverEveryMs : Math.min(discoverEveryMs, FAULTY_EVERY_MS);
    this.#dueMs = endMs + (isOther ? pollMs : againMs);
  }

  async #recount(): Promise<void> {
    const { clock, roots, pollMs = POLL_MS } = this.#options;
    this.#stale = 'nothing';
    const found = await this.#within((options) => recountHugePages(this.inventory, roots, options));
    this.#counts.recounts++;
    this.#recountDueMs = this.#publish(found) ? clock.monotonicMs() + pollMs : Number.POSITIVE_INFINITY;
  }

  async #within(read: (options: DiscoveryOptions) => Promise<Inventory>): Promise<Inventory> {
    const { clock, discovery } = this.#options;
    using deadline = this.#deadline('device discovery', DISCOVERY_LIMIT_MS);
    const kernel = this.#knownKernel();
    const known = kernel === undefined ? {} : { kernel };
    return await read({ ...discovery, ...known, clock, stuck: this.#stuck, signal: deadline.signal });
  }

  /** What the kernel can do stays while it runs. Where something was wrong with what tells so, it is asked again. */
  #knownKernel(): P2pDma['kernel'] | undefined {
    const { p2pDma, findings = [] } = this.#inventory ?? {};
    const isSure =
      typeof p2pDma?.kernel.isBuiltIn === 'boolean' && !findings.some(({ path }) => KERNEL_PATH.test(path));
    return isSure ? p2pDma.kernel : undefined;
  }

  /** Looks at all that tells of changes. Resolves whether some of it was not looked at before. */
  async #watchPaths(paths: readonly WatchedPath[]): Promise<boolean> {
    const before = new Set(this.#watched.map(({ path }) => path));
    this.#watched = paths;
    this.#setHanging(paths.filter(({ path }) => this.#hanging.includes(path)));
    await this.#look(this.#watched.map(({ kind, path }) => ({ kind, path: this.#here(path) })));
    return this.#watched.some(({ path }) => !before.has(path));
  }

  /** More than a few that hang may keep the rest from being looked at: then it comes when it comes, and is news. */
  async #look(probes: readonly Probe[]): Promise<void> {
    using deadline = this.#deadline('a look at the machine', LOOK_LIMIT_MS);
    try {
      await this.#pulse?.watch(probes, deadline.signal);
    } catch (err) {
      if (this.#stop.signal.aborted || !NabuError.is(err, 'TIMEOUT')) throw err;
      this.#logger.warn('parts of the machine do not answer', { hanging: this.#hanging });
    }
  }

  #deadline(operation: string, timeoutMs: number): Deadline {
    return new Deadline({ clock: this.#options.clock, operation, timeoutMs, parent: this.#stop.signal });
  }

  /** Where this process sees a path of an inventory. */
  #here(path: string): string {
    const { sysfsRoot, devRoot, procRoot } = this.#options.roots;
    const [, tree = '', below = ''] = /^\/(sys|dev|proc)\/(.*)$/.exec(path) ?? [];
    return `${{ sys: sysfsRoot, dev: devRoot, proc: procRoot }[tree] ?? ''}/${below}`;
  }

  /** Whether it is another machine than before; the first is none. */
  #publish(found: Inventory): boolean {
    const before = this.#inventory;
    if (isDeepStrictEqual(found, before)) return false;
    this.#inventory = found;
    this.#logFindings(before, found);
    for (const listener of [...this.#listeners]) listener();
    return before !== undefined;
  }

  #logFindings(before: Inventory | undefined, { findings }: Inventory): void {
    const known = new Set(before?.findings.map(({ path, reason }) => `${path}\n${reason}`));
    const fresh = findings.filter(({ path, reason }) => !known.has(`${path}\n${reason}`));
    for (const { path, reason } of fresh.slice(0, FINDINGS_LOGGED)) {
      this.#logger.warn('part of the machine cannot be used', { path, reason });
    }
  }
}
