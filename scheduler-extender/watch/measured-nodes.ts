import type { AgedNodeReport } from '../../engine/control/index.ts';
import type { MapNode } from '../../engine/placement/index.ts';
import type { StorageNodeFacts } from '../cluster/index.ts';

export type Measured = Pick<StorageNodeFacts, 'load' | 'rttUs' | 'cutOffZones'>;

/** Six reports of a node that are missing: what it said before is no word on how it is now. */
const BELIEVED_MS = 60_000;
/** Noise is not news: what depends on a storage node is derived anew whenever it changes. */
const LOAD_STEPS = 32;
const RTT_STEPS_PER_DOUBLING = 4;

/** Idle, and as far as its labels say. */
export const UNMEASURED: Measured = { load: 0, rttUs: new Map(), cutOffZones: [] };

function rttStep(microseconds: number): number {
  const steps = Math.round(Math.log2(microseconds) * RTT_STEPS_PER_DOUBLING);
  return Number((2 ** (steps / RTT_STEPS_PER_DOUBLING)).toPrecision(3));
}

/**
 * What storage nodes have lately measured, by id. A zone counts as cut off from a node that hears nothing of it only where a storage
 * node in that zone tells control of itself: of one that is down nothing can be heard either. Pure.
 */
export function measuredBy(
  reports: readonly AgedNodeReport[],
  nodes: readonly MapNode[],
): ReadonlyMap<string, Measured> {
  const fresh = reports.filter(({ ageMs }) => Number(ageMs) < BELIEVED_MS);
  const telling = new Set(fresh.map(({ nodeId }) => nodeId));
  const alive = new Set(nodes.filter(({ id }) => telling.has(id)).map(({ domain }) => domain.zone));
  const measured = new Map<string, Measured>();
  for (const { nodeId, report } of fresh) {
    if (report === null) continue;
    const rttUs = new Map<string, number>();
    for (const { zone, rack, microseconds } of report.roundTrips) {
      if (microseconds > 0) rttUs.set(rack === '' ? zone : `${zone}/${rack}`, rttStep(microseconds));
    }
    measured.set(nodeId, {
      load: Math.round(report.load * LOAD_STEPS) / LOAD_STEPS,
      rttUs,
      cutOffZones: report.silentZones.filter((zone) => alive.has(zone)).sort(),
    });
  }
  return measured;
}
