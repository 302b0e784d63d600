import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { DEFAULT_RULES } from '../../../../scheduler-extender/decide/index.ts';
import { podFacts } from '../../../../scheduler-extender/kube/index.ts';
import { needOf } from '../../../../scheduler-extender/need/index.ts';
import { DEFAULT_WEIGHTS, LoadTimes, scoreOf } from '../../../../scheduler-extender/score/index.ts';
import { type Given, type PodGiven, podObject, TestCluster } from '../../../support/extender/objects.ts';

const GUIDE = new URL('../../../../docs/scheduler-extender.md', import.meta.url);
const GB = 1e9;
const MODEL: PodGiven = { annotations: { 'nabustore.io/models': 'm' } };
const NODES = ['that', 'rack', 'zone', 'far'] as const;

/** The node that has the model, and one at each distance from it. */
function sites(sizeBytes: number, held: Readonly<Record<string, number>> = { that: sizeBytes }): TestCluster {
  return new TestCluster()
    .node('that', { zone: 'a', rack: 'r1' })
    .node('rack', { zone: 'a', rack: 'r1' })
    .node('zone', { zone: 'a', rack: 'r2' })
    .node('far', { zone: 'b', rack: 'r1' })
    .model('m', sizeBytes, held);
}

/** Seconds and score of each node asked about, as the guide writes them. */
function judged(cluster: TestCluster, pod: PodGiven, nodes: readonly string[]): string[][] {
  const need = needOf(podFacts(podObject('p', pod)), cluster.index, DEFAULT_RULES.need);
  const times = new LoadTimes(need, cluster.index, DEFAULT_WEIGHTS);
  const best = Math.min(...NODES.map((name) => times.secondsAt(cluster.slot(name))));
  return nodes.map((name) => {
    const seconds = times.secondsAt(cluster.slot(name));
    return [seconds.toFixed(2), String(scoreOf(seconds, best, DEFAULT_WEIGHTS))];
  });
}

function neighbour(labels: Given): TestCluster {
  return sites(140 * GB).node('rack', { zone: 'a', rack: 'r1', labels });
}

function busyNeighbour(): TestCluster {
  const cluster = sites(140 * GB);
  cluster.index.put('link', { node: 'rack', load: 0.5 });
  return cluster;
}

describe('the worked examples of the guide', () => {
  let guide: string;
  before(async () => {
    guide = await readFile(GUIDE, 'utf8');
  });

  it('are what the formula gives', () => {
    const [, table = ''] = /<!-- examples -->\n([\s\S]*?)\n\n/.exec(guide) ?? [];
    const rows = table.split('\n').slice(2);
    const claim = sites(1).storage(['a', 'b', 'c']).storageClass('fast').claim('c', { size: '400G' });
    assert.deepEqual(
      rows.map((row) =>
        row
          .split('|')
          .slice(3, 5)
          .map((cell) => cell.trim()),
      ),
      [
        ...judged(sites(140 * GB), MODEL, NODES),
        ...judged(sites(140 * GB, { that: 140 * GB, zone: 70 * GB }), MODEL, ['zone']),
        ...judged(busyNeighbour(), MODEL, ['rack']),
        ...judged(neighbour({ 'nabustore.io/rdma.rate-gbps': '25' }), MODEL, ['rack']),
        ...judged(sites(0.1 * GB), MODEL, ['that', 'zone', 'far']),
        ...judged(claim, { claims: ['c'] }, ['that']),
      ],
    );
  });

  it('are made of the bandwidths, round trips and weights that ship', () => {
    const { bytesPerSecond, rttS, firstByteTrips, insignificantS, worstRatio } = DEFAULT_WEIGHTS;
    const { indirectSlowdown, hcaContention, numaSlowdown } = DEFAULT_WEIGHTS;
    const listed = (values: object, factor: number): string =>
      Object.values(values)
        .map((value) => Number((value * factor).toPrecision(6)))
        .join(',');
    const { need, filter } = DEFAULT_RULES;
    const said = [
      `--bandwidth-gbytes ${listed(bytesPerSecond, 1e-9)}`,
      `--round-trip-us ${listed(rttS, 1e6)}`,
      `--first-byte-trips ${firstByteTrips}`,
      `--insignificant-ms ${insignificantS * 1000}`,
      `--worst-ratio ${worstRatio}`,
      `--indirect-slowdown ${indirectSlowdown}`,
      `--hca-contention ${hcaContention}`,
      `--numa-slowdown ${numaSlowdown}`,
      `--assumed-fill ${need.assumedFill}`,
      '--near-bytes 1e9',
      `--required-share ${filter.requiredShare}`,
    ];
    assert.equal(need.nearBytes, 1e9);
    const text = guide.replaceAll('\n', ' ');
    for (const flag of said) assert(text.includes(flag), flag);
    for (const [distance, bytes] of Object.entries(bytesPerSecond)) {
      assert.match(guide, new RegExp(`^\\| ${distance} \\| ${bytes / 1e9} \\|`, 'm'));
    }
  });
});
