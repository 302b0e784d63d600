import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { compareWriterEpochs, formatWriterEpoch, type NodeId, type WriterEpoch } from '../blob/index.ts';
import type { OwnerState } from '../store/index.ts';
import type { HomeNodes, VolumeSpec } from './home-nodes.ts';
import { type HomeQuorum, homeQuorum } from './home-quorum.ts';
import { decodeOwnerNote, encodeOwnerNote, noteVersion, type OwnerNote } from './owner-note.ts';

export type HomeFenceOptions = {
  readonly nodes: HomeNodes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly epoch: WriterEpoch;
};

/** One node's answer is waited for at most this long before it is asked again. */
const CALL_TIMEOUT_MS = 5000;
const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 2000;
/**
 * After the quorum, the others get this long to confirm too: a node that is merely slower need not be met again later. One that
 * could not be asked is not waited for.
 */
const LATE_GRACE_MS = 250;

/**
 * Our writer epoch on the home nodes of a volume: first as a fence on as many as it takes, then, for as long as the volume is
 * open, on every node that comes back. Notes travel the same way. Whoever finds a higher fence stops for good: FENCED.
 */
export class HomeFence {
  readonly quorum: HomeQuorum;
  readonly #options: HomeFenceOptions;
  /** Nodes whose last call failed. */
  readonly #refused = new Set<NodeId>();
  readonly #confirmed = new Map<NodeId, OwnerNote | undefined>();
  /** The round of confirming that each node has taken part in last; a new round asks every node again. */
  readonly #rounds = new Map<NodeId, number>();
  #round = 0;
  /** The note that every node should have, and who confirmed it. */
  #note: { readonly note: OwnerNote; readonly bytes: Uint8Array; readonly holders: Set<NodeId> } | undefined;
  #fencedBy: NabuError | undefined;
  readonly #stop = new AbortController();
  readonly #watchers = new Set<() => void>();
  #tasks: Promise<void>[] = [];
  readonly #wake = new Map<NodeId, () => void>();

  constructor(options: HomeFenceOptions) {
    this.#options = options;
    this.quorum = homeQuorum(options.spec.policy, options.spec.homeSet.length);
  }

  start(): void {
    this.#tasks = this.#options.spec.homeSet.map((node) => this.#keepAsking(node));
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'fencing' }));
    await Promise.all(this.#tasks);
  }

  /** What stops this writer for good. */
  get fencedBy(): NabuError | undefined {
    return this.#fencedBy;
  }

  isFenced(node: NodeId): boolean {
    return this.#confirmed.has(node);
  }

  get confirmed(): readonly NodeId[] {
    return [...this.#confirmed.keys()];
  }

  get missing(): readonly NodeId[] {
    return this.#options.spec.homeSet.filter((node) => !this.#confirmed.has(node));
  }

  /** The note each confirming node held when it confirmed the fence: nothing older than our epoch changes it any more. */
  get notes(): ReadonlyMap<NodeId, OwnerNote | undefined> {
    return this.#confirmed;
  }

  /** Resolves when the fence cuts every put of older writers. VOLUME_OPEN_BLOCKED names who is missing at the deadline. */
  async established(deadline: Deadline): Promise<void> {
    await this.until(() => this.#confirmed.size >= this.quorum.fence, deadline);
    using grace = deadline.within('late fences', LATE_GRACE_MS);
    const isSettled = (node: NodeId): boolean => this.#confirmed.has(node) || this.#refused.has(node);
    await this.until(() => this.#options.spec.homeSet.every(isSettled), grace).catch((err: unknown) => {
      if (!NabuError.is(err, 'VOLUME_OPEN_BLOCKED')) throw err;
    });
  }

  /**
   * Stores the note on every node, at least on `noteWrite` of them before this resolves; goes on for the others in the background.
   * A note given meanwhile replaces this one, and counts for it.
   */
  async publish(note: OwnerNote, deadline: Deadline): Promise<void> {
    const entry = { note, bytes: encodeOwnerNote(note), holders: new Set<NodeId>() };
    this.#note = entry;
    this.#wakeAll();
    await this.until(() => {
      const current = this.#note;
      const size = current === undefined ? 0 : Math.max(entry.holders.size, current.holders.size);
      return size >= this.quorum.noteWrite;
    }, deadline);
  }

  /**
   * Resolves when our fence is still the highest on as many nodes as it takes; FENCED when a newer opener was faster. What was
   * seen before this resolves was seen by the one who may write.
   */
  async reconfirm(deadline: Deadline): Promise<void> {
    const round = ++this.#round;
    this.#wakeAll();
    const isAsked = (node: NodeId): boolean => (this.#rounds.get(node) ?? -1) >= round;
    await this.until(() => this.confirmed.filter(isAsked).length >= this.quorum.fence, deadline);
  }

  /** Waits until the condition holds; it is looked at whenever a node confirms. FENCED at once, VOLUME_OPEN_BLOCKED at the deadline. */
  until(condition: () => boolean, deadline: Deadline): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        this.#watchers.delete(check);
        deadline.signal.removeEventListener('abort', onDeadline);
        act();
      };
      const check = (): void => {
        const fencedBy = this.#fencedBy;
        if (fencedBy !== undefined) finish(() => reject(fencedBy));
        else if (condition()) finish(resolve);
      };
      const onDeadline = (): void => finish(() => reject(this.#blocked(deadline)));
      this.#watchers.add(check);
      deadline.signal.addEventListener('abort', onDeadline, { once: true });
      check();
      if (this.#watchers.has(check) && deadline.expired) onDeadline();
    });
  }

  #blocked(deadline: Deadline): NabuError {
    const missing = this.missing;
    const holders = this.#note?.holders;
    const nodes =
      missing.length > 0 ? missing : this.#options.spec.homeSet.filter((node) => holders?.has(node) !== true);
    return NabuError.of(
      'VOLUME_OPEN_BLOCKED',
      { volumeId: this.#options.spec.id, nodes: [...nodes] },
      { cause: deadline.signal.reason },
    );
  }

  async #keepAsking(node: NodeId): Promise<void> {
    let delayMs = RETRY_FIRST_MS;
    while (!this.#stop.signal.aborted && this.#fencedBy === undefined) {
      const done = await this.#ask(node);
      if (done) delayMs = RETRY_FIRST_MS;
      await this.#pause(node, done ? undefined : delayMs);
      if (!done) delayMs = Math.min(RETRY_MOST_MS, delayMs * 2);
    }
  }

  /** Until there is something new for this node, or the delay is over. */
  async #pause(node: NodeId, delayMs: number | undefined): Promise<void> {
    if (delayMs === undefined && this.#isUpToDate(node)) {
      await new Promise<void>((resolve) => {
        this.#wake.set(node, resolve);
        if (this.#stop.signal.aborted) resolve();
        else this.#stop.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      this.#wake.delete(node);
      return;
    }
    if (delayMs !== undefined) await this.#options.clock.sleep(delayMs, this.#stop.signal).catch(() => undefined);
  }

  #isUpToDate(node: NodeId): boolean {
    const isAsked = this.#rounds.get(node) === this.#round;
    return isAsked && this.#confirmed.has(node) && (this.#note === undefined || this.#note.holders.has(node));
  }

  async #ask(node: NodeId): Promise<boolean> {
    const { spec, epoch, clock, logger } = this.#options;
    const entry = this.#note;
    const round = this.#round;
    try {
      using deadline = new Deadline({
        clock,
        operation: `fence on ${node}`,
        timeoutMs: CALL_TIMEOUT_MS,
        parent: this.#stop.signal,
      });
      const version = entry === undefined ? undefined : noteVersion(entry.note.epoch, entry.note.counter);
      const state = await this.#options.nodes.setOwner(
        node,
        spec.id,
        {
          fence: epoch,
          homeSetVersion: spec.homeSetVersion,
          ...(entry === undefined || version === undefined ? {} : { note: entry.bytes, noteVersion: version }),
        },
        deadline,
      );
      if (!this.#accept(node, state)) return true;
      this.#refused.delete(node);
      this.#rounds.set(node, round);
      if (entry !== undefined && version === state.noteVersion) entry.holders.add(node);
      this.#notify();
      return entry !== this.#note || round !== this.#round || this.#isUpToDate(node);
    } catch (err) {
      if (NabuError.is(err, 'FENCED')) this.#fence(err);
      else {
        logger.debug('a home node did not confirm', { volumeId: spec.id, node, err });
        this.#refused.add(node);
        this.#notify();
      }
      return false;
    }
  }

  /** False when somebody with a higher epoch has been there. */
  #accept(node: NodeId, state: OwnerState): boolean {
    const { spec, epoch } = this.#options;
    if (compareWriterEpochs(state.fence, epoch) > 0) {
      this.#fence(
        NabuError.of('FENCED', {
          epoch: formatWriterEpoch(epoch),
          owner: spec.id,
          fence: formatWriterEpoch(state.fence),
          node,
        }),
      );
      return false;
    }
    if (!this.#confirmed.has(node)) this.#confirmed.set(node, this.#readNote(node, state));
    return true;
  }

  #readNote(node: NodeId, state: OwnerState): OwnerNote | undefined {
    if (state.note.length === 0) return undefined;
    try {
      return decodeOwnerNote(state.note);
    } catch (err) {
      // A later version must stop the opening; a broken note is one node's loss.
      if (NabuError.is(err, 'FORMAT_UNKNOWN')) this.#fence(err);
      this.#options.logger.error('the note of a home node is unreadable', {
        volumeId: this.#options.spec.id,
        node,
        err,
      });
      return undefined;
    }
  }

  #fence(err: NabuError): void {
    this.#fencedBy ??= err;
    this.#notify();
  }

  #wakeAll(): void {
    for (const wake of this.#wake.values()) wake();
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}
