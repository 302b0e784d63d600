// What each way of letting the scheduler see the nodes near to a pod's data costs and brings, on 5,000 simulated nodes: a JSON object a
// line. docs/decisions/extender-sampling.md has its figures.
// usage: sampling.ts [PODS] [ROUNDS]
import { performance } from 'node:perf_hooks';
import { Chart } from '../chart.ts';
import { FLEET, fleetOf, makeFleet } from '../scale/fleet.ts';
import { PODS, podObject } from '../scale/objects.ts';
import { ScalePlane } from '../scale/scale-plane.ts';
import type { SchedulerSetup } from '../scale/scheduler-configuration.ts';
import { ExtenderProcess } from '../scheduler/extender-process.ts';
import { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { Bindings, removePods } from './bindings.ts';
import { ModelLoad, servingPod } from './model-load.ts';
import { registerWebhook } from './webhook.ts';

const WAIT_MS = 240_000;
const PROFILE = 'nabustore';

type Variant = {
  readonly name: string;
  readonly scheduler: Omit<SchedulerSetup, 'extender'>;
  readonly webhook?: boolean;
  readonly schedulerName?: string;
  readonly locality?: string;
};

const VARIANTS: readonly Variant[] = [
  { name: 'default sampling', scheduler: {} },
  { name: '100 for all', scheduler: { percentageOfNodesToScore: 100 } },
  {
    name: '100 by profile',
    scheduler: {
      profiles: [{ schedulerName: 'default-scheduler' }, { schedulerName: PROFILE, percentageOfNodesToScore: 100 }],
    },
    schedulerName: PROFILE,
  },
  { name: 'preferred affinity', scheduler: {}, webhook: true },
  { name: 'required affinity', scheduler: {}, webhook: true, locality: 'required' },
];

const [podCount = 300, rounds = 2] = process.argv.slice(2).map(Number);

await using stack = new AsyncDisposableStack();
const chart = await Chart.find();
if (chart === undefined) throw new Error('Go is needed: helm is built with it');
const plane = await ScalePlane.start();
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

const stranger = (name: string): unknown => podObject(name, { stranger: true, resources: { cpu: '1', memory: '1Gi' } });
const strangers = (kind: string): unknown[] => Array.from({ length: podCount }, (_, at) => stranger(`${kind}-${at}`));

for (let round = 0; round < rounds; round++) {
  const models = load.models(podCount);
  for (const { name, scheduler, webhook = false, ...given } of VARIANTS) {
    await plane.startScheduler({
      ...scheduler,
      extender: { port: extender.port },
      featureGates: { OpportunisticBatching: false },
    });
    await placed([stranger('first')]);
    const unregister = webhook ? await registerWebhook(api, chart, admission) : async () => undefined;
    const pods = models.map((model, at) => servingPod({ name: `ours-${at}`, model }, { marked: !webhook, ...given }));
    const ours = await placed(pods);
    await unregister();
    const order = [...ours.bindings.all.values()].map(({ pod, node }) => {
      return { model: models[Number(pod.slice('ours-'.length))] ?? 0, node };
    });
    const { takenS, bestS } = load.regret(order);
    await removePods(api, WAIT_MS);
    const others = await placed(strangers('alone'));
    await removePods(api, WAIT_MS);
    const mixed = await placed([...strangers('mixed').flatMap((other, at) => [other, pods[at]].filter((x) => x))]);
    await removePods(api, WAIT_MS);
    const line = {
      variant: name,
      round,
      oursPerSecond: ours.perSecond,
      strangersPerSecond: others.perSecond,
      mixedPerSecond: webhook ? undefined : mixed.perSecond,
      regret: takenS / bestS - 1,
      meanS: takenS / podCount,
      bestS: bestS / podCount,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}
