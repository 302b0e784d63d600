// What each way of letting the scheduler see the nodes near to a pod's data costs and brings, on 5,000 simulated nodes: a JSON object a
// line. docs/decisions/extender-sampling.md has its figures.
// usage: sampling.ts [PODS] [ROUNDS] [PARTS OF THE NAMES OF VARIANTS, BY COMMAS]
import { performance } from 'node:perf_hooks';
import { Chart } from '../chart.ts';
import { Plane } from '../plane/plane.ts';
import type { SchedulerSetup } from '../plane/scheduler-configuration.ts';
import { FLEET, fleetOf, makeFleet } from '../scale/fleet.ts';
import { PODS, podObject } from '../scale/objects.ts';
import { ExtenderProcess } from '../scheduler/extender-process.ts';
import { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { Bindings, removePods } from './bindings.ts';
import { ModelLoad, servingPod } from './model-load.ts';
import { registerWebhook } from './webhook.ts';

const WAIT_MS = 240_000;
const PROFILE = 'nabustore';
const GATE = 'example.com/not-yet';

type Variant = {
  readonly name: string;
  readonly scheduler: Omit<SchedulerSetup, 'port'>;
  readonly webhook?: boolean;
  readonly schedulerName?: string;
  readonly locality?: string;
  /** The best node is written into the pod's status before a scheduler sees it. */
  readonly nominated?: boolean;
};

const byProfile = (percentage: number): Variant => ({
  name: `${percentage} by profile`,
  scheduler: {
    profiles: [
      { schedulerName: 'default-scheduler' },
      { schedulerName: PROFILE, percentageOfNodesToScore: percentage },
    ],
  },
  schedulerName: PROFILE,
});

const VARIANTS: readonly Variant[] = [
  { name: 'default sampling', scheduler: {} },
  { name: '100 for all', scheduler: { percentageOfNodesToScore: 100 } },
  byProfile(25),
  byProfile(50),
  byProfile(100),
  { name: 'preferred affinity', scheduler: {}, webhook: true },
  { name: 'required affinity', scheduler: {}, webhook: true, locality: 'required' },
  { name: 'nominated', scheduler: {}, nominated: true },
];

const [podCount = 300, rounds = 2] = process.argv.slice(2, 4).map(Number);
const only = (process.argv[4] ?? '').split(',');

await using stack = new AsyncDisposableStack();
const chart = await Chart.find();
if (chart === undefined) throw new Error('Go is needed: helm is built with it');
const plane = await Plane.start({ fleet: true });
stack.defer(() => plane.stop());
const { api } = plane;
const fleet = fleetOf(FLEET);
await makeFleet(api, fleet);
const load = new ModelLoad(fleet, { models: 40, mostHolders: 60, seed: 7 });
await load.report(api);
const extender = await ExtenderProcess.start(plane.kubeconfig, '--answer-within-ms', '5000');
stack.defer(() => extender.stop());
await extender.untilReady();
const admission = await SchedulerAdmissionProcess.start(
  plane.kubeconfig,
  ...['--schedulers', 'default-scheduler', '--gates', 'false'],
);
stack.defer(() => admission.stop());
await admission.untilReady();

/** Pods a second, from the first request to the last binding, and who went where. */
async function placed(objects: readonly unknown[]): Promise<{ perSecond: number; bindings: Bindings }> {
  const bindings = await Bindings.follow(api);
  const fromMs = performance.now();
  await api.createAll(objects.map((object) => [PODS, object]));
  await bindings.untilBound(objects.length, WAIT_MS);
  const lastMs = Math.max(...[...bindings.all.values()].map(({ atMs }) => atMs));
  await bindings.stop();
  return { perSecond: (objects.length / (lastMs - fromMs)) * 1000, bindings };
}

/** As `placed`, of pods that only wait to be let through. */
async function ungated(names: readonly string[]): Promise<{ perSecond: number; bindings: Bindings }> {
  const bindings = await Bindings.follow(api);
  const fromMs = performance.now();
  await Promise.all(names.map((name) => api.merge(`${PODS}/${name}`, { spec: { schedulingGates: null } })));
  await bindings.untilBound(names.length, WAIT_MS);
  const lastMs = Math.max(...[...bindings.all.values()].map(({ atMs }) => atMs));
  await bindings.stop();
  return { perSecond: (names.length / (lastMs - fromMs)) * 1000, bindings };
}

const stranger = (name: string): unknown => podObject(name, { stranger: true, resources: { cpu: '1', memory: '1Gi' } });
const strangers = (kind: string): unknown[] => Array.from({ length: podCount }, (_, at) => stranger(`${kind}-${at}`));

/** The pods behind a gate, each with the node that is best for it while none is full. */
async function nominate(pods: readonly unknown[], models: readonly number[]): Promise<void> {
  const best = load.best(models);
  const gated = pods.map((pod) => {
    const spec = Reflect.get(Object(pod), 'spec');
    return { ...Object(pod), spec: { ...spec, schedulingGates: [{ name: GATE }] } };
  });
  await api.createAll(gated.map((pod) => [PODS, pod]));
  const all = pods.map((pod) => String(Reflect.get(Object(pod), 'metadata').name));
  await Promise.all(
    all.map((name, at) => api.merge(`${PODS}/${name}/status`, { status: { nominatedNodeName: best[at] } })),
  );
}

/** Each of ours beside a stranger. */
function mixed(ours: readonly unknown[]): unknown[] {
  return strangers('mixed').flatMap((other, at) => [other, ours[at]]);
}

for (let round = 0; round < rounds; round++) {
  const models = load.models(podCount);
  for (const { name, scheduler, webhook = false, nominated = false, ...given } of VARIANTS) {
    if (!only.some((part) => name.includes(part))) continue;
    await plane.startScheduler({
      ...scheduler,
      port: extender.port,
      featureGates: { OpportunisticBatching: false },
    });
    await placed([stranger('first')]);
    await removePods(api, WAIT_MS);
    const unregister = webhook ? await registerWebhook(api, chart, admission) : undefined;
    const pods = models.map((model, at) => servingPod({ name: `ours-${at}`, model }, { marked: !webhook, ...given }));
    const names = models.map((_, at) => `ours-${at}`);
    if (nominated) await nominate(pods, models);
    const ours = nominated ? await ungated(names) : await placed(pods);
    const order = [...ours.bindings.all.values()].map(({ pod, node }) => {
      return { model: models[Number(pod.slice('ours-'.length))] ?? 0, node };
    });
    const { takenS, bestS } = load.regret(order);
    await removePods(api, WAIT_MS);
    const together = nominated ? undefined : await placed(mixed(pods));
    await unregister?.();
    await removePods(api, WAIT_MS);
    const alone = await placed(strangers('alone'));
    await removePods(api, WAIT_MS);
    const line = {
      variant: name,
      round,
      oursPerSecond: rounded(ours.perSecond),
      mixedPerSecond: together && rounded(together.perSecond),
      strangersPerSecond: rounded(alone.perSecond),
      regret: rounded(takenS / bestS - 1),
      meanS: rounded(takenS / podCount),
      bestS: rounded(bestS / podCount),
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
