import type { SeededRandom } from '../../../common/ports/index.ts';
import { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import { localityReportFacts, nodeFacts } from '../../../scheduler-extender/kube/index.ts';
import { type Given, nodeObject, podObject } from '../../support/extender/objects.ts';
import { KNOWLEDGE, LINK_GBPS } from './constants.ts';
import type { EventQueue } from './event-queue.ts';
import type { ServingPod } from './workload.ts';
import type { GpuNode, World } from './world.ts';

/** The pod as the API shows it to schedulers and extenders. */
export function podOf({ id, model }: ServingPod): Given {
  return podObject(`pod-${id}`, { annotations: { 'nabustore.io/models': model.name } });
}

/**
 * The extender's index as a deployment feeds it: nodes and storage nodes as they are, caches and link loads as agents report them now
 * and then, off by some noise, late, cut to their largest entries, and by a few nodes never. Of other pods' loads, of the racks' links and of
 * evictions since the last report it knows nothing.
 */
export class Knowledge {
  readonly index = new ClusterIndex();
  readonly #queue: EventQueue;
  readonly #random: SeededRandom;

  constructor(world: World, queue: EventQueue, random: SeededRandom) {
    this.#queue = queue;
    this.#random = random;
    const { storagePerRack, racksPerZone } = world.size;
    for (const { name, zone, rack } of world.nodes) {
      const labels = { 'nabustore.io/rdma.rate-gbps': String(LINK_GBPS) };
      this.index.put('node', nodeFacts(nodeObject(name, { zone: `z${zone}`, rack: `r${rack}`, labels })));
    }
    for (let at = 0; at < world.racks * storagePerRack; at++) {
      const rack = Math.floor(at / storagePerRack);
      this.index.put('storageNode', {
        id: `s${at}`,
        host: `storage-${at}`,
        zone: `z${Math.floor(rack / racksPerZone)}`,
        rack: `r${rack}`,
        state: 'up',
        capacityBytes: 32 * 30e12,
        load: 0,
        rttUs: new Map(),
        cutOffZones: [],
      });
    }
    for (const node of world.nodes) {
      if (random.float() < KNOWLEDGE.silentShare) continue;
      queue.at(random.float() * KNOWLEDGE.reportEveryS, () => this.#report(node));
    }
  }

  #report(node: GpuNode): void {
    const { reportEveryS, reportLagS, reportEntries } = KNOWLEDGE;
    const entries = [...node.cache].sort(([, a], [, b]) => b - a).slice(0, reportEntries);
    const load = Math.min(1, this.#off(node.linkUse(), 'loadNoise'));
    const report = localityReportFacts({
      kind: 'LocalityReport',
      metadata: { name: node.name },
      spec: {
        reportedAt: new Date(this.#queue.nowS * 1000).toISOString(),
        validSeconds: reportEveryS * 3,
        linkLoadPercent: Math.round(load * 100),
        contents: entries.map(([{ name, sizeBytes }, bytes]) => {
          const cachedBytes = Math.min(sizeBytes, Math.round(this.#off(bytes, 'bytesNoise')));
          return { kind: 'Model', id: name, sizeBytes, cachedBytes, stored: true };
        }),
      },
    });
    this.#queue.at(this.#queue.nowS + reportLagS, () => this.index.put('report', report));
    this.#queue.at(this.#queue.nowS + reportEveryS, () => this.#report(node));
  }

  #off(value: number, by: 'bytesNoise' | 'loadNoise'): number {
    return value * (1 + (this.#random.float() * 2 - 1) * KNOWLEDGE[by]);
  }
}
