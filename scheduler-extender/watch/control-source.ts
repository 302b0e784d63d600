import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { parsePolicy } from '../../engine/blob/index.ts';
import type { AgedNodeReport, ControlClient, Volume } from '../../engine/control/index.ts';
import { FAILURE_DOMAINS } from '../../engine/placement/index.ts';
import type { ClusterSink, Growth, VolumeRecordFacts } from '../cluster/index.ts';
import type { WatchState } from './kind-watch.ts';
import { measuredBy, UNMEASURED } from './measured-nodes.ts';

export type ControlSourceOptions = {
  readonly control: Pick<ControlClient, 'getMap' | 'listVolumes' | 'listNodeReports'>;
  readonly sink: ClusterSink;
  /** Tells that there is more to be read, and is told when it has been. */
  readonly growth: Growth;
  /** Between two looks. */
  readonly pollMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
};

const CALL_TIMEOUT_MS = 10_000;
const PAGE = 1000;
/** A storage node that joins makes one capacity after another rise: one look for all of them. */
const SOON_MS = 100;

function recordFacts(volume: Volume): VolumeRecordFacts {
  const liveBytes = Number(volume.report?.liveBytes ?? 0);
  return {
    id: volume.id,
    name: volume.name,
    policy: parsePolicy(volume.policy),
    failureDomain: FAILURE_DOMAINS.find((known) => known === volume.failureDomain) ?? 'host',
    thin: volume.provisioning === 'thin',
    sizeBytes: Number(volume.sizeBytes),
    liveBytes: liveBytes > 0 ? liveBytes : undefined,
    homeSet: volume.homeSet,
    attachedNode: volume.attachment?.nodeName ?? '',
  };
}

/** What was told of each object, so that only what has changed is told again. */
class Told {
  #before = new Map<string, string>();
  #now = new Map<string, string>();

  /** Whether it is new or has changed. */
  see(id: string, version: string): boolean {
    this.#now.set(id, version);
    return this.#before.get(id) !== version;
  }

  /** Those that were not seen since the last end. */
  end(): string[] {
    const gone = [...this.#before.keys()].filter((id) => !this.#now.has(id));
    this.#before = this.#now;
    this.#now = new Map();
    return gone;
  }

  /** What was seen does not count: the look was not finished. */
  giveUp(): void {
    this.#now = new Map();
  }
}

/** Storage nodes and volume records as control keeps them, read again and again: it has no watch for volumes. */
export class ControlSource {
  readonly #options: ControlSourceOptions;
  readonly #nodes = new Told();
  readonly #volumes = new Told();
  readonly #stopping = new AbortController();
  readonly #unlisten: () => void;
  #timer: Timer | undefined;
  #isSoon = false;
  #looking: Promise<void> = Promise.resolve();
  #synced = false;
  #heardMs: number | undefined;
  #trouble = '';

  constructor(options: ControlSourceOptions) {
    this.#options = options;
    this.#unlisten = options.growth.onNotice(() => this.#hurry());
  }

  get state(): WatchState {
    return { plural: 'volume records', synced: this.#synced, heardMs: this.#heardMs, trouble: this.#trouble };
  }

  start(): void {
    this.#looking = this.#look();
  }

  /** Waits for a look that begins now. */
  async catchUp(): Promise<void> {
    await this.#looking;
    this.#timer?.cancel();
    this.start();
    await this.#looking;
    if (this.#trouble !== '') throw NabuError.of('UNAVAILABLE', { target: 'control', reason: this.#trouble });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#unlisten();
    this.#timer?.cancel();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { clock, growth, logger, pollMs } = this.#options;
    const { noticed } = growth;
    this.#timer = undefined;
    this.#isSoon = false;
    try {
      await this.#readNodes();
      await this.#readVolumes();
      growth.read(noticed);
      this.#synced = true;
      this.#heardMs = clock.monotonicMs();
      this.#trouble = '';
    } catch (error) {
      this.#nodes.giveUp();
      this.#volumes.giveUp();
      if (this.#stopping.signal.aborted) return;
      this.#trouble = error instanceof Error ? error.message : String(error);
      logger.warn('control cannot be read', { error });
    }
    if (this.#stopping.signal.aborted) return;
    this.#timer = clock.setTimer(() => this.start(), pollMs);
    if (this.#trouble === '' && growth.isUnread) this.#hurry();
  }

  /** A look that runs may have passed what has grown: it is followed by another. */
  #hurry(): void {
    if (this.#timer === undefined || this.#isSoon) return;
    this.#isSoon = true;
    this.#timer.cancel();
    this.#timer = this.#options.clock.setTimer(() => this.start(), SOON_MS);
  }

  async #readNodes(): Promise<void> {
    const { control, sink } = this.#options;
    const options = { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stopping.signal };
    const { nodes } = await control.getMap(options);
    const measured = measuredBy(await this.#reports(options), nodes);
    for (const node of nodes) {
      const { host, zone, rack } = node.domain;
      const { id, state, capacityBytes = 0 } = node;
      const report = measured.get(id) ?? UNMEASURED;
      if (!this.#nodes.see(id, JSON.stringify([node, report.load, [...report.rttUs], report.cutOffZones]))) continue;
      sink.put('storageNode', { id, host, zone, rack, state, capacityBytes, ...report });
    }
    for (const id of this.#nodes.end()) sink.remove('storageNode', id);
  }

  /** An older control has none. */
  async #reports(options: { timeoutMs: number; signal: AbortSignal }): Promise<readonly AgedNodeReport[]> {
    try {
      return await this.#options.control.listNodeReports(options);
    } catch (err) {
      if (NabuError.is(err, 'UNIMPLEMENTED')) return [];
      throw err;
    }
  }

  async #readVolumes(): Promise<void> {
    const { control, sink } = this.#options;
    let pageToken = '';
    do {
      const options = { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stopping.signal };
      const page = await control.listVolumes({ pageToken, limit: PAGE }, options);
      for (const volume of page.volumes) {
        if (this.#volumes.see(volume.id, String(volume.resourceVersion))) sink.put('record', recordFacts(volume));
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    for (const id of this.#volumes.end()) sink.remove('record', id);
  }
}
