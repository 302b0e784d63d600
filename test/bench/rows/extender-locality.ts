import { CLUSTERS, KNOWLEDGE, OCCUPANCY, PODS, SHIPPED, ZIPF_EXPONENT } from '../locality/constants.ts';
import { type Figure, type Gap, Gaps } from '../locality/gap.ts';
import { type Provider, type Row, row } from '../provider.ts';

const MODELLED =
  `simulated, nothing but the extender's filter and prioritize is real (bytes to bytes, as it ships): ${PODS} model-serving pods (Zipf ${ZIPF_EXPONENT}, ${OCCUPANCY * 100} % of GPUs, bursts of replicas) on ${CLUSTERS.map(({ name, runs }) => `${name} x${runs} seeds`).join(', ')}; ` +
  'modelled: caches, racks, links that are shared and otherwise busy, and kube-scheduler by its default plugins, weights and sampling; ' +
  `ours: the same, plus the extender with weight ${SHIPPED.weight} and ${SHIPPED.percentageOfNodesToScore} % of nodes looked at, as the shipped profile says, which knows what agents report every ${KNOWLEDGE.reportEveryS} s, noisy, late and by ${KNOWLEDGE.silentShare * 100} % of nodes never; ` +
  'oracle: sees everything as it is at that moment and takes the node that is best for the pod by the very figure; constants: test/bench/locality/constants.ts';

function gapRow(name: string, gaps: readonly Gap[], what: string, scale: number): Row {
  const said = gaps.map(({ cluster, byDefault, ours, oracle, closed }) => {
    const [before, now, least] = [byDefault, ours, oracle].map((value) => (value * scale).toFixed(2));
    return `${cluster} ${closed.toFixed(2)} (default ${before}, ours ${now}, oracle ${least})`;
  });
  const mean = gaps.reduce((sum, { closed }) => sum + closed, 0) / gaps.length;
  const method = `share of the gap in ${what} that is closed, mean of the clusters: ${said.join(', ')}; peer: an oracle, which closes all of it; ${MODELLED}`;
  return row(name, 'share', mean, 1, method);
}

const ROWS: readonly { name: string; figure: Figure; what: string; scale: number }[] = [
  {
    name: 'extender.locality.cross-rack',
    figure: 'crossRackBytes',
    what: 'GB per pod that cross a rack',
    scale: 1e-9,
  },
  { name: 'extender.locality.load-time', figure: 'loadSeconds', what: 'seconds to load a model', scale: 1 },
];

/** Whether pods get nearer to their data than the default scheduler puts them, by as much as knowing everything would. */
export const provider: Provider = {
  rows: ROWS.map(({ name }) => name),
  async *measure(bench) {
    const gaps = new Gaps();
    for (const { name, figure, what, scale } of ROWS) {
      if (bench.wants(name)) yield gapRow(name, gaps.of(figure), what, scale);
    }
  },
};
