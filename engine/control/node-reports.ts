import { NabuError } from '../../common/errors/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import type { NodeId } from '../blob/index.ts';
import type { ClusterMap } from '../placement/index.ts';

type NodeReport = nabustore.v1.NodeReport;

const MAX_ROUND_TRIPS = 512;
const MAX_SILENT_ZONES = 64;
const MAX_LABEL_CHARS = 253;

function refused(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field: `report.${field}`, reason });
}

function checkLabel(field: string, text: string, least: 0 | 1): void {
  if (text.length < least || text.length > MAX_LABEL_CHARS)
    throw refused(field, `is not ${least} to ${MAX_LABEL_CHARS} characters`);
}

/** Throws INVALID_ARGUMENT that names the field. */
function check({ load, roundTrips, silentZones }: NodeReport): void {
  if (!(load >= 0 && load <= 1)) throw refused('load', 'is not 0 to 1');
  if (roundTrips.length > MAX_ROUND_TRIPS) throw refused('roundTrips', `are more than ${MAX_ROUND_TRIPS}`);
  if (silentZones.length > MAX_SILENT_ZONES) throw refused('silentZones', `are more than ${MAX_SILENT_ZONES}`);
  for (const { zone, rack, microseconds } of roundTrips) {
    checkLabel('roundTrips.zone', zone, 1);
    checkLabel('roundTrips.rack', rack, 0);
    if (microseconds === 0) throw refused('roundTrips.microseconds', 'is 0');
  }
  for (const zone of silentZones) checkLabel('silentZones', zone, 1);
}

/** What stor-nodes last told of themselves. Kept in memory: it is told again soon, and old ones help nobody. */
export class NodeReports {
  readonly #clock: Clock;
  readonly #map: () => ClusterMap;
  readonly #reports = new Map<NodeId, { readonly report: NodeReport; readonly toldMs: number }>();

  constructor(clock: Clock, map: () => ClusterMap) {
    this.#clock = clock;
    this.#map = map;
  }

  /** Throws NODE_NOT_FOUND for a node that is not in the map, INVALID_ARGUMENT: then the report before stays. */
  take(id: NodeId, report: NodeReport): void {
    if (!this.#map().nodes.some((node) => node.id === id)) throw NabuError.of('NODE_NOT_FOUND', { nodeId: id });
    check(report);
    this.#reports.set(id, { report, toldMs: this.#clock.monotonicMs() });
  }

  /** Of nodes that are in the map, by id. */
  list(): MessageInit<nabustore.v1.AgedNodeReport>[] {
    const nowMs = this.#clock.monotonicMs();
    return this.#map().nodes.flatMap(({ id }) => {
      const told = this.#reports.get(id);
      return told === undefined ? [] : [{ nodeId: id, report: told.report, ageMs: Math.floor(nowMs - told.toldMs) }];
    });
  }
}
