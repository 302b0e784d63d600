import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { KindSink } from '../cluster/index.ts';
import type { LocalityReportFacts } from '../kube/index.ts';

/** Names of all reports together: 5,000 nodes with twenty contents of two names each. Bounds what hostile ones can make us keep. */
const MOST_NAMES = 250_000;
/** Expired reports are looked for no more often. */
const LEAST_SWEEP_MS = 250;
const NAMED_IN_LOG = 5;

type Known = {
  readonly reportedAtMs: number;
  readonly deadlineMs: number;
  readonly names: number;
  isBelieved: boolean;
};

export type FreshReportsOptions = {
  readonly sink: KindSink<'report'>;
  readonly clock: Clock;
  readonly logger: Logger;
};

function namesIn({ contents, devices }: LocalityReportFacts): number {
  return contents.reduce((sum, { names }) => sum + 1 + names.length, 1 + devices.length);
}

/**
 * Hands on what nodes report for as long as it is valid. A report that is seen to be replaced by a newer one is as old as its arrival,
 * whatever the clocks of the node and of this machine say; one that was there before is as old as it says.
 */
export class FreshReports implements KindSink<'report'> {
  readonly #options: FreshReportsOptions;
  readonly #known = new Map<string, Known>();
  /** Told of already. */
  readonly #leftOut = new Set<string>();
  #names = 0;
  #timer: Timer | undefined;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(options: FreshReportsOptions) {
    this.#options = options;
  }

  /** `leftOut`: there was no room for them. */
  get counts(): { readonly believed: number; readonly expired: number; readonly leftOut: number } {
    let believed = 0;
    for (const { isBelieved } of this.#known.values()) if (isBelieved) believed++;
    return { believed, expired: this.#known.size - believed, leftOut: this.#leftOut.size };
  }

  put(_kind: 'report', facts: LocalityReportFacts): void {
    const before = this.#known.get(facts.node);
    const names = namesIn(facts);
    if (this.#names - (before?.names ?? 0) + names > MOST_NAMES) {
      this.#leaveOut(facts.node);
      return;
    }
    this.#leftOut.delete(facts.node);
    const deadlineMs = this.#deadlineOf(facts, before);
    const isBelieved = deadlineMs > this.#options.clock.monotonicMs();
    this.#names += names - (before?.names ?? 0);
    this.#known.set(facts.node, { reportedAtMs: facts.reportedAtMs, deadlineMs, names, isBelieved });
    if (isBelieved) this.#options.sink.put('report', facts);
    else if (before?.isBelieved === true) this.#options.sink.remove('report', facts.node);
    if (isBelieved) this.#sweepBy(deadlineMs);
  }

  remove(_kind: 'report', node: string): void {
    this.#leftOut.delete(node);
    const before = this.#known.get(node);
    if (before === undefined) return;
    this.#known.delete(node);
    this.#names -= before.names;
    if (before.isBelieved) this.#options.sink.remove('report', node);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#sweepAtMs = Number.NEGATIVE_INFINITY;
  }

  #deadlineOf({ reportedAtMs, validMs }: LocalityReportFacts, before: Known | undefined): number {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (before !== undefined && reportedAtMs === before.reportedAtMs)
      return Math.min(before.deadlineMs, nowMs + validMs);
    const isNewer = before !== undefined && reportedAtMs > before.reportedAtMs;
    const ageMs = isNewer ? 0 : Math.max(0, clock.nowMs() - reportedAtMs);
    return nowMs + validMs - ageMs;
  }

  #leaveOut(node: string): void {
    if (this.#leftOut.has(node)) return;
    this.#leftOut.add(node);
    this.#options.logger.warn('a report has no room, what was known of the node stays', {
      node,
      mostNames: MOST_NAMES,
    });
  }

  #sweepBy(deadlineMs: number): void {
    if (deadlineMs >= this.#sweepAtMs) return;
    const nowMs = this.#options.clock.monotonicMs();
    const delayMs = Math.max(LEAST_SWEEP_MS, deadlineMs - nowMs);
    this.#timer?.cancel();
    this.#sweepAtMs = nowMs + delayMs;
    this.#timer = this.#options.clock.setTimer(() => this.#sweep(), delayMs, { background: true });
  }

  #sweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const expired: string[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [node, known] of this.#known) {
      if (!known.isBelieved) continue;
      if (known.deadlineMs > nowMs) {
        next = Math.min(next, known.deadlineMs);
        continue;
      }
      known.isBelieved = false;
      expired.push(node);
      this.#options.sink.remove('report', node);
    }
    this.#timer = undefined;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    if (next !== Number.POSITIVE_INFINITY) this.#sweepBy(next);
    if (expired.length === 0) return;
    const nodes = expired.slice(0, NAMED_IN_LOG);
    this.#options.logger.info('reports are too old to be believed', { count: expired.length, nodes });
  }
}
