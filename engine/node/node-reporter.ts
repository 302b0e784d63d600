import { type Deadline, withDeadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { ControlClient } from '../control/index.ts';
import type { MapNode, MapSource } from '../placement/index.ts';
import type { NodeClient } from '../protocol/index.ts';
import type { NodeLoad } from './node-load.ts';
import { PeerTrips } from './peer-trips.ts';

export type NodeReporterOptions = {
  readonly nodeId: string;
  readonly map: MapSource;
  readonly load: Pick<NodeLoad, 'next'>;
  readonly connect: (
    node: MapNode,
    deadline: Deadline,
  ) => Promise<{ readonly client: Pick<NodeClient, 'ping'>; close(): void }>;
  readonly control: Pick<ControlClient, 'reportNode'>;
  /** Between two reports. */
  readonly periodMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

const CALL_TIMEOUT_MS = 5000;
const PEER_TIMEOUT_MS = 1000;
/** Of one peer: the first finds code and connection cold and does not count. */
const PINGS = 6;
const PARALLEL_PEERS = 8;
/** The host of the peer answers, and says that nobody listens there. */
const REFUSALS: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET']);

/** Measures how busy the node is and how far its peers are, and tells control: for ever, and never in the way of anything else. */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  readonly #trips: PeerTrips;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    this.#trips = new PeerTrips(options.nodeId);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, periodMs, logger } = this.#options;
    let told = '';
    while (!signal.aborted) {
      // Nodes that started together do not measure together.
      await clock.sleep(periodMs * (0.75 + random.float() / 2), signal).catch(() => undefined);
      if (signal.aborted) return;
      let trouble = '';
      try {
        await this.#round(signal);
      } catch (err) {
        // Whatever it is, the node serves on: a report is of use, and nothing depends on it.
        trouble = err instanceof Error ? err.message : String(err);
      }
      if (trouble !== '' && trouble !== told && !signal.aborted)
        logger.warn('control takes no report', { reason: trouble });
      told = trouble;
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { nodeId, map, load, control } = this.#options;
    const busy = load.next();
    const waiting = [...this.#trips.begin(map.current())];
    const work = async (): Promise<void> => {
      for (let node = waiting.pop(); node !== undefined && !signal.aborted; node = waiting.pop())
        await this.#measure(node, signal);
    };
    await Promise.all(Array.from({ length: PARALLEL_PEERS }, work));
    if (signal.aborted) return;
    await control.reportNode(nodeId, { load: busy, ...this.#trips.report() }, { timeoutMs: CALL_TIMEOUT_MS, signal });
  }

  async #measure(node: MapNode, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const options = { clock, operation: `asking ${node.id}`, timeoutMs: PEER_TIMEOUT_MS, parent: signal };
    try {
      const us = await withDeadline(options, (deadline) => this.#roundTripUs(node, deadline));
      this.#trips.answered(node, us);
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      if (signal.aborted) return;
      if (REFUSALS.has(String(err.fields.reason))) this.#trips.refused(node);
      else this.#trips.silent(node);
    }
  }

  /** The shortest of a few: what a busy moment on either side adds is no distance. */
  async #roundTripUs(node: MapNode, deadline: Deadline): Promise<number> {
    const { clock, connect } = this.#options;
    const link = await connect(node, deadline);
    try {
      let shortestMs = Number.POSITIVE_INFINITY;
      for (let at = 0; at < PINGS; at++) {
        const fromMs = clock.monotonicMs();
        await link.client.ping({ deadline });
        if (at > 0) shortestMs = Math.min(shortestMs, clock.monotonicMs() - fromMs);
      }
      return Math.max(1, shortestMs * 1000);
    } finally {
      link.close();
    }
  }
}
