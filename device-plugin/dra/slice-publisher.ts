import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { KubeClient } from '../kube-api/index.ts';
import { Backoff, WakeUp } from '../kubelet/index.ts';
import type { ResourceSliceSpec } from './resource-api.ts';
import { degradations, type ServerFeatures } from './resource-slices.ts';
import { SliceApi } from './slice-api.ts';
import { type KeptDevices, slicePlan } from './slice-plan.ts';
import { devicesText, droppedFeatures, type StoredSlice } from './stored-slice.ts';

export type SlicePublisherOptions = {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** What the node has now, for a server of these features. Cheap: asked at every look. */
  readonly wanted: (features: ServerFeatures) => readonly ResourceSliceSpec[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: Partial<PublisherLimits>;
};

export type PublisherLimits = {
  readonly callMs: number;
  /** Changes within it are written together. */
  readonly gatherMs: number;
  /** How often to look whatever is heard. */
  readonly resyncMs: number;
  /** How often to ask whether the server has learned to keep what it did not. */
  readonly probeMs: number;
  readonly firstPauseMs: number;
  readonly mostPauseMs: number;
};

const LIMITS: PublisherLimits = {
  callMs: 10_000,
  gatherMs: 100,
  resyncMs: 600_000,
  probeMs: 3_600_000,
  firstPauseMs: 200,
  mostPauseMs: 30_000,
};

/** A node has a few slices; a list is kept for each that was written lately. */
const KEPT_LIMIT = 64;
const ALL: ServerFeatures = { taints: true, sharing: true };

/**
 * Keeps this node's ResourceSlices as the node is: after each change here, and after each change there, which it watches for
 * (a kubelet that starts deletes all slices of its node; Kubernetes 1.36, pkg/kubelet/cm/dra/plugin, wipeResourceSlices).
 * Never gives up; logs each cause once. Slices stay when it is closed: claims that are prepared do not end with us.
 */
export class SlicePublisher {
  readonly #options: SlicePublisherOptions;
  readonly #limits: PublisherLimits;
  readonly #logger: Logger;
  readonly #api: SliceApi;
  readonly #wake: WakeUp;
  readonly #backoff: Backoff;
  readonly #watchBackoff: Backoff;
  readonly #stop = new AbortController();
  #running: readonly Promise<void>[] = [];
  #features: ServerFeatures | undefined;
  #probedAtMs = Number.NEGATIVE_INFINITY;
  #cause: string | undefined;
  #isPublished = false;
  #kept: KeptDevices = new Map();
  /** Counts what was heard of here. */
  #changes = 0;

  constructor(options: SlicePublisherOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#logger = options.logger.child({ component: 'resource-slices' });
    const { client, nodeName, clock } = options;
    this.#api = new SliceApi({ client, nodeName, clock, callMs: this.#limits.callMs, signal: this.#stop.signal });
    this.#wake = new WakeUp(clock);
    const { firstPauseMs: firstMs, mostPauseMs: mostMs } = this.#limits;
    this.#backoff = new Backoff({ firstMs, mostMs }, options.random);
    this.#watchBackoff = new Backoff({ firstMs, mostMs }, options.random);
  }

  /** What the server was found to keep; undefined before it answered. */
  get features(): ServerFeatures | undefined {
    return this.#features;
  }

  /** Whether the server has had what is wanted since the last change that was heard of. */
  get isPublished(): boolean {
    return this.#isPublished;
  }

  /** Why not, as it was logged. */
  get cause(): string | undefined {
    return this.#cause;
  }

  /** From here on; a second call does nothing. */
  start(): void {
    if (this.#running.length === 0) this.#running = [this.#syncForEver(), this.#watchForEver()];
  }

  /** What is wanted may be something else now. */
  poke(): void {
    this.#changes++;
    this.#isPublished = false;
    this.#wake.call();
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'publishing' }));
    await Promise.all(this.#running);
  }

  async #syncForEver(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#options;
    while (!signal.aborted) {
      const pauseMs = await this.#attempt();
      if (signal.aborted) return;
      await this.#wake.wait(pauseMs, signal);
      await clock.sleep(this.#limits.gatherMs, signal).catch(() => undefined);
    }
  }

  async #attempt(): Promise<number> {
    const changes = this.#changes;
    try {
      await this.#sync();
      this.#isPublished = changes === this.#changes;
      if (this.#cause !== undefined) this.#logger.info('resource slices are published again');
      this.#cause = undefined;
      this.#backoff.reset();
      return this.#limits.resyncMs;
    } catch (err) {
      this.#isPublished = false;
      if (!this.#stop.signal.aborted) this.#report(err);
      return this.#backoff.pauseMs();
    }
  }

  async #sync(): Promise<void> {
    const features = await this.#knownFeatures();
    const wanted = this.#options.wanted(features);
    const { items } = await this.#api.list();
    const { deletes, updates, creates } = slicePlan(items, wanted, this.#kept);
    for (const slice of deletes) await this.#api.delete(slice);
    let answers: { readonly stored: StoredSlice; readonly sent: ResourceSliceSpec }[] = [];
    for (const { stored, spec } of updates) answers.push({ stored: await this.#api.update(stored, spec), sent: spec });
    for (const { name, spec } of creates) answers.push({ stored: await this.#api.create(name, spec), sent: spec });
    if (answers.length > 0) this.#kept = this.#keptOf(answers);
    answers = answers.filter(({ stored, sent }) => this.#learn(stored, sent));
    if (updates.length + creates.length + deletes.length > 0) {
      const devices = wanted.reduce((sum, spec) => sum + spec.devices.length, 0);
      this.#logger.info('resource slices written', { slices: wanted.length, devices });
    }
    // Servers of one cluster need not be of one version: what was found once may be dropped by the next.
    if (answers.length > 0) await this.#sync();
  }

  /**
   * What a server makes of a list in another way than by dropping what it does not know would be sent again and again: it is
   * taken as what was wanted.
   */
  #keptOf(answers: readonly { readonly stored: StoredSlice; readonly sent: ResourceSliceSpec }[]): KeptDevices {
    const kept = new Map(this.#kept);
    let isOther = false;
    for (const { stored, sent } of answers) {
      const [wanted, got] = [devicesText(sent.devices), devicesText(stored.spec.devices ?? [])];
      kept.delete(wanted); // it may be another server that answers now
      if (wanted === got) continue;
      kept.set(wanted, got);
      isOther = true;
    }
    if (isOther) this.#logger.warn('the API server keeps other devices than it was sent');
    return new Map([...kept].slice(-KEPT_LIMIT));
  }

  /** Whether the answer shows that less is kept than was thought. */
  #learn(stored: StoredSlice, sent: ResourceSliceSpec): boolean {
    const features = this.#features ?? ALL;
    const dropped = droppedFeatures(stored, sent);
    if (!dropped.taints && !dropped.sharing) return false;
    this.#become({ taints: features.taints && !dropped.taints, sharing: features.sharing && !dropped.sharing });
    return true;
  }

  #become(features: ServerFeatures): void {
    const { taints, sharing } = this.#features ?? ALL;
    const isNew = taints !== features.taints || sharing !== features.sharing;
    this.#features = features;
    if (isNew) for (const sentence of degradations(features)) this.#logger.warn(sentence);
  }

  async #knownFeatures(): Promise<ServerFeatures> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#features !== undefined && nowMs - this.#probedAtMs < this.#limits.probeMs) return this.#features;
    const dropped = await this.#tried();
    this.#become({ taints: !dropped.taints, sharing: !dropped.sharing });
    this.#probedAtMs = nowMs;
    return this.#features ?? ALL;
  }

  /** A cluster whose admission takes no dry runs shows it by what it makes of the real ones. */
  async #tried(): Promise<ServerFeatures> {
    try {
      return await this.#api.dropped();
    } catch (err) {
      if (!NabuError.is(err, 'KUBE_REFUSED')) throw err;
      this.#logger.info('what the API server keeps cannot be tried', { error: err });
      const { taints, sharing } = this.#features ?? ALL;
      return { taints: !taints, sharing: !sharing };
    }
  }

  async #watchForEver(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#watchOnce(signal);
      } catch (err) {
        // A server that cannot be watched cannot be written to either: that is reported by whoever does.
        if (!signal.aborted) this.#logger.debug('the watch of resource slices ended', { error: err });
      }
      await this.#options.clock.sleep(this.#watchBackoff.pauseMs(), signal).catch(() => undefined);
    }
  }

  async #watchOnce(signal: AbortSignal): Promise<void> {
    const { metadata } = await this.#api.list();
    this.#wake.call(); // for what was missed
    for await (const { type } of this.#api.watch(metadata.resourceVersion, signal)) {
      this.#watchBackoff.reset();
      if (type !== 'BOOKMARK') this.#wake.call();
    }
  }

  #report(err: unknown): void {
    if (NabuError.is(err, 'RESOURCE_CONFLICT')) return; // somebody else wrote: the next look shows what
    const cause = NabuError.is(err) ? `${err.code}: ${err.message}` : String(err);
    if (cause !== this.#cause) this.#logger.warn('resource slices are not published', { error: err });
    this.#cause = cause;
  }
}
