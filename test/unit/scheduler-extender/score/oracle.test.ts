import assert from 'node:assert/strict';
import { SeededRandom } from '../../../../common/ports/index.ts';
import { ClusterIndex } from '../../../../scheduler-extender/cluster/index.ts';
import { nodeFacts, podFacts } from '../../../../scheduler-extender/kube/index.ts';
import { DEFAULT_WEIGHTS, LoadTimes } from '../../../../scheduler-extender/score/index.ts';
import { nodeObject } from '../../../kube/scale/fleet.ts';
import { loadSeconds } from '../../../kube/scale/oracle.ts';
import { Site } from '../../../kube/scale/site.ts';
import { podObject } from '../../../support/extender/objects.ts';

const SHAPE = { nodes: 1000, zones: 4, perRack: 25, railsPerZone: 8 };
const CLOSE = 1e-9;

/** All that a site is, told to an index as watches would. */
function indexOf(site: Site): ClusterIndex {
  const index = new ClusterIndex();
  for (const node of site.fleet) index.put('node', nodeFacts(nodeObject(node)));
  for (const { id, zone, rack, capacityBytes } of site.storage) {
    const idle = { state: 'up', load: 0, rttUs: new Map<string, number>(), cutOffZones: [] } as const;
    index.put('storageNode', { id, host: id, zone, rack, capacityBytes, ...idle });
  }
  for (const { name, linkLoad } of site.nodes.values()) {
    if (linkLoad > 0) index.put('link', { node: name, load: linkLoad });
  }
  return index;
}

describe('the expected time on each node of a site', () => {
  it('is what an oracle computes from the guide alone, with caches across racks and rails', () => {
    const site = new Site({ random: new SeededRandom(11), shape: SHAPE, rawBytes: 1e14 });
    const index = indexOf(site);
    const pod = podFacts(podObject('p'));
    for (const model of site.models) {
      const holders = model.cached.map(({ node, share }) => {
        return { node: node.name, isStorage: false, bytes: model.sizeBytes * share };
      });
      const { id, sizeBytes, stored: isStored } = model;
      const spread = index.storage.spreadOfContent({ kind: 'model', id, names: [], sizeBytes, holders, isStored });
      const reading = { what: id, bytes: sizeBytes, spread, isAnchor: true };
      const nothing = {
        made: [],
        wanted: [],
        devices: new Map<string, number>(),
        tolerations: [],
        faults: [],
        unknown: [],
      };
      const times = new LoadTimes(
        { ...nothing, pod, readings: [reading], locality: 'preferred' },
        index,
        DEFAULT_WEIGHTS,
      );
      const readings = [{ bytes: sizeBytes, parts: site.partsOfModel(model) }];
      for (const node of site.nodes.values()) {
        const ours = times.secondsAt(index.nodes.names.find(node.name));
        const theirs = loadSeconds(node, readings);
        assert(Math.abs(ours / theirs - 1) < CLOSE, `${id} on ${node.name}: ${ours} instead of ${theirs}`);
      }
    }
  });
});
