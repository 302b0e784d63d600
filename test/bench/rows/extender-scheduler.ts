import { podObject } from '../../kube/scale/objects.ts';
import { servingPod } from '../../kube/scheduler-modes/model-load.ts';
import { type Bench, median, type Provider, type Row, row } from '../provider.ts';
import { type Placed, SchedulerRate } from '../scheduler-rate.ts';

const PODS = 1000;
const UNRELATED_PAIRS = 7;
const THROUGHPUT_PAIRS = 5;
const REAL =
  'a real kube-scheduler, API server and etcd, 5,000 simulated nodes, client QPS raised, OpportunisticBatching off, default sampling';

type Pair = { readonly ours: Placed; readonly peer: Placed };

/** Who is first changes from pair to pair, so that a machine that slows down or speeds up favours nobody. */
async function pairs(
  count: number,
  bench: Bench,
  ours: () => Promise<Placed>,
  peer: () => Promise<Placed>,
): Promise<Pair[]> {
  const found: Pair[] = [];
  for (let at = 0; at < count; at++) {
    const first = at % 2 === 0 ? await ours() : await peer();
    const second = at % 2 === 0 ? await peer() : await ours();
    const pair = at % 2 === 0 ? { ours: first, peer: second } : { ours: second, peer: first };
    bench.progress(
      `pair ${at + 1} of ${count}: ${pair.ours.perSecond.toFixed(1)} and ${pair.peer.perSecond.toFixed(1)} pods/s`,
    );
    found.push(pair);
  }
  return found;
}

/** The ratio is the median of the pairs' ratios: the two of a pair met the same machine. */
function ratioRow(name: string, found: readonly Pair[], method: string): Row {
  const ratios = found.map(({ ours, peer }) => ours.perSecond / peer.perSecond);
  const peer = median(found.map((pair) => pair.peer.perSecond));
  const spread = [...ratios].sort((a, b) => a - b).map((ratio) => ratio.toFixed(3));
  const cpu = (of: (pair: Pair) => Placed): string => median(found.map((pair) => of(pair).cpuMs)).toFixed(2);
  const said = `ratios of the pairs: ${spread.join(', ')}; CPU of the scheduler itself ${cpu(({ ours }) => ours)} ms a pod, of the peer's ${cpu((pair) => pair.peer)}`;
  return row(name, 'pods/s', median(ratios) * peer, peer, `${method}; ${said}`);
}

async function* unrelated(rate: SchedulerRate, bench: Bench): AsyncGenerator<Row> {
  const strangers = Array.from({ length: PODS }, (_, at) => podObject(`stranger-${at}`, { stranger: true }));
  const port = await rate.startOurs();
  await rate.place(strangers, port); // the first of all pods meet a cold API server
  const found = await pairs(
    UNRELATED_PAIRS,
    bench,
    () => rate.place(strangers, port),
    () => rate.place(strangers, undefined),
  );
  const made = (UNRELATED_PAIRS + 1) * PODS;
  const calls = await SchedulerRate.calls(port);
  if (bench.wants('extender.unrelated-calls')) {
    const method = `calls that the extender had for ${made} pods with nothing of ours, by its own metrics; peer: the pods; ${REAL}`;
    yield row('extender.unrelated-calls', 'calls', calls, made, method);
  }
  if (bench.wants('extender.unrelated-pods')) {
    const method = `pods/s of ${PODS} pods with nothing of ours, with the extender configured; peer: not configured; the extender runs and watches in both; median of ${UNRELATED_PAIRS} interleaved pairs; ${REAL}`;
    yield ratioRow('extender.unrelated-pods', found, method);
  }
}

async function throughput(rate: SchedulerRate, bench: Bench): Promise<Row> {
  const [ours, nothing] = [await rate.startOurs(), await rate.startDoNothing()];
  const pods = rate.load.models(PODS).map((model, at) => servingPod({ name: `ours-${at}`, model }, { marked: true }));
  await rate.place(pods, ours);
  const found = await pairs(
    THROUGHPUT_PAIRS,
    bench,
    () => rate.place(pods, ours),
    () => rate.place(pods, nothing),
  );
  const calls = await SchedulerRate.calls(ours);
  const asked = (THROUGHPUT_PAIRS + 1) * PODS;
  if (calls < asked) throw new Error(`the extender had ${calls} calls for ${asked} pods of ours`);
  const method = `pods/s of ${PODS} pods that read models which some nodes report, one GPU each, with our extender, names only; peer: the same HTTP server with a handler that lets all pass and scores none; median of ${THROUGHPUT_PAIRS} interleaved pairs; ${REAL}`;
  return ratioRow('extender.scheduler-throughput', found, method);
}

/** What the extender costs a scheduler: nothing for strangers, and for pods of ours little beside the call itself. */
export const provider: Provider = {
  rows: ['extender.unrelated-calls', 'extender.unrelated-pods', 'extender.scheduler-throughput'],
  async *measure(bench) {
    const rate = await SchedulerRate.start(bench);
    if (bench.wants('extender.unrelated-calls') || bench.wants('extender.unrelated-pods'))
      yield* unrelated(rate, bench);
    if (bench.wants('extender.scheduler-throughput')) yield await throughput(rate, bench);
  },
};
