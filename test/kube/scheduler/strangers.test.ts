import assert from 'node:assert/strict';
import type { V1EndpointSlice, V1Pod, V1PodList } from '@kubernetes/client-node';
import { get } from '../../support/extender/served.ts';
import { until } from '../host/until.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import type { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { makeClaim, makeDriver, type PodGiven, podObject } from './cluster-objects.ts';
import type { ExtenderProcess } from './extender-process.ts';
import type { Recorder } from './recorder.ts';
import type { Relay } from './relay.ts';
import { GIB, NAMESPACE as namespace, onStage, type Stage } from './stage.ts';
import type { StubProvisioner } from './stub-provisioner.ts';

/** As the chart ships it. */
const HTTP_TIMEOUT_MS = 100;
const WINDOW = 3;
const SERVICE = 'nabu-extender';
const FOLLOW_MS = 100;
/** The gate asks every half second, waits half a second, and twice; what follows takes as long again on a machine that is busy. */
const MOST_HUNG_SECONDS = 4;

const OURS = 100;
/**
 * So many that the scheduler's loop, which a hung extender holds up, decides how fast strangers are placed. With few nodes it is done in
 * no time, and what is measured is the API server, which refuses a third of the bindings that come all at once, for a second each.
 */
const NODES = { count: 1000, percentageToScore: 100 } as const;
/** Of those whose rates are compared: enough for some seconds, as the gate lets ours try most in the first one. */
const MANY = 1000;
/**
 * In each, strangers alone and beside ours, each first every other time. Both of one round meet the same machine, whose rate may halve
 * from one minute to the next, so that a round is judged by their ratio; and all rounds by the median of these, which one disturbance
 * does not move. How many there are does not depend on what they show.
 */
const ROUNDS = 7;
/** Where only calls are counted. */
const SOME = 300;
const PODS = `/api/v1/namespaces/${namespace}/pods`;
const SLICE = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${SERVICE}`;
const WAIT_MS = 60_000;
const DRAIN_MS = 120_000;
/** To be reached by the issue. */
const SHARE = 0.8;

type Drained = { strangers: number; seconds: number; calls: number; hungSeconds: number };
type Case = {
  readonly name: string;
  readonly strangers: number;
  /** While the scheduler runs and the extender answers. */
  readonly prepare: () => Promise<void>;
  readonly during?: () => Promise<void>;
  readonly clear: () => Promise<void>;
};

const say = (text: string): unknown => process.stdout.write(`    ${text}\n`);
/** Of an odd number of figures. */
const median = (figures: readonly number[]): number =>
  figures.toSorted((a, b) => a - b)[(figures.length - 1) / 2] ?? Number.NaN;

describe('strangers, of whom more wait than a scheduler can place, beside 100 of ours and an extender that begins to hang', () => {
  let stage: Stage;
  let provisioner: StubProvisioner;
  let extender: ExtenderProcess;
  let gate: SchedulerAdmissionProcess;
  let recorder: Recorder;
  let relay: Relay;
  let api: KubeApi;
  let drains = 0;
  const drained = new Map<string, Drained[]>();

  onStage(async (given) => {
    stage = given;
    api = stage.plane.api;
    await stage.nodes(NODES.count);
    await makeDriver(stage.config);
    provisioner = await stage.provisioner(0);
    const ports = [{ name: 'http', port: 80 }];
    await stage.core.createNamespacedService({ namespace, body: { metadata: { name: SERVICE }, spec: { ports } } });
    const service = ['--service', `${namespace}/${SERVICE}`];
    extender = await stage.readyExtender(...service, '--address', '10.1.2.3');
    relay = await stage.relay(extender.port);
    recorder = await stage.recorder(relay.port);
    const { port } = recorder;
    const percentageOfNodesToScore = NODES.percentageToScore;
    await stage.plane.startScheduler({ port, httpTimeoutMs: HTTP_TIMEOUT_MS, percentageOfNodesToScore });
    gate = await stage.gate(relay.port, ...service);
    await until('the Service leads somewhere', WAIT_MS, () => api.get(SLICE));
  });

  const makeOurs = (given: PodGiven): Promise<void> =>
    api.createAll(Array.from({ length: OURS }, (_, at) => [PODS, podObject(`ours-${at}`, given)]));
  const untilFigures = (unjudged: number, waiting: number): Promise<true> =>
    until(`${unjudged} are unjudged and ${waiting} wait`, WAIT_MS, async () => {
      const { text } = await get(gate.healthPort, '/metrics');
      const has = (line: string): boolean => text.includes(`\n${line}\n`);
      const isSo = has(`nabustore_gate_unjudged_pods ${unjudged}`) && has(`nabustore_gate_waiting_pods ${waiting}`);
      return isSo || undefined;
    });
  const untilRefused = (): Promise<true> =>
    until('all of ours are refused', WAIT_MS, async () => {
      const { items } = await stage.core.listNamespacedPod({ namespace, fieldSelector: 'spec.nodeName=' });
      const refused = items.filter(({ status }) =>
        status?.conditions?.some(({ reason }) => reason === 'Unschedulable'),
      );
      return refused.length === OURS || undefined;
    });
  const removeOurs = async (): Promise<void> => {
    await stage.core.deleteCollectionNamespacedPod({ namespace, labelSelector: '!run', gracePeriodSeconds: 0 });
    await untilFigures(0, 0);
  };

  /** Seconds from `begin` until so many strangers of this run have a node. */
  async function untilPlaced(run: string, count: number, begin: () => void): Promise<number> {
    const placed = new Set<string>();
    const ending = new AbortController();
    const late = AbortSignal.any([ending.signal, AbortSignal.timeout(DRAIN_MS)]);
    const selected = `${PODS}?labelSelector=run%3D${run}&fieldSelector=spec.nodeName%21%3D`;
    const list = (await api.get(`${selected}&limit=1`)) as V1PodList;
    let version = list.metadata?.resourceVersion ?? '';
    const beganMs = performance.now();
    begin();
    while (placed.size < count) {
      late.throwIfAborted();
      // The server may end a watch that it finds slow: it goes on from there.
      await api.watch(selected, version, late, (_, object) => {
        const { metadata } = object as V1Pod;
        version = metadata?.resourceVersion ?? version;
        if (placed.add(metadata?.name ?? '').size === count) ending.abort();
      });
    }
    return (performance.now() - beganMs) / 1000;
  }

  /** What is done for a Service on every node of a cluster: where nobody is behind it, connections are refused. */
  async function followService(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const { endpoints } = (await api.get(SLICE)) as V1EndpointSlice;
      relay.isOpen = (endpoints ?? []).length > 0;
      if (!relay.isOpen) relay.cut();
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    }
  }

  async function drain({ name, strangers, prepare, during, clear }: Case): Promise<void> {
    const prefix = `s${drains++}`;
    await prepare();
    stage.plane.signalScheduler('SIGSTOP');
    const labels = { run: prefix };
    await api.createAll(
      Array.from({ length: strangers }, (_, at) => [PODS, podObject(`${prefix}-${at}`, { stranger: true, labels })]),
    );
    const { givenUp } = recorder;
    Object.assign(givenUp, { count: 0, waitedMs: 0 });
    const begin = (): void => {
      extender.signal('SIGSTOP');
      stage.plane.signalScheduler('SIGCONT');
    };
    const [seconds] = await Promise.all([untilPlaced(prefix, strangers, begin), during?.()]);
    const one = { strangers, seconds, calls: givenUp.count, hungSeconds: givenUp.waitedMs / 1000 };
    drained.set(name, [...of(name), one]);
    extender.signal('SIGCONT');
    await until('the extender is back', WAIT_MS, async () => relay.isOpen || undefined);
    await clear();
  }

  const nothing = async (): Promise<void> => undefined;
  const alone: Case = { name: 'alone', strangers: MANY, prepare: nothing, clear: nothing };
  const gated: Case = {
    name: 'behind the gate',
    strangers: MANY,
    prepare: async () => {
      // Held, so that those that are let through are not judged before the extender hangs.
      stage.plane.signalScheduler('SIGSTOP');
      await makeOurs({ gated: true });
      await untilFigures(WINDOW, OURS - WINDOW);
    },
    clear: removeOurs,
  };
  const full: Case = {
    name: 'refused, storage being full',
    strangers: SOME,
    prepare: async () => {
      // One for all: none of them gets it.
      await makeClaim(stage.config, namespace, 'too-big', '1Gi');
      await makeOurs({ claim: 'too-big' });
      await untilRefused();
    },
    // Wakes them, and is too little for any.
    during: () => provisioner.grow(GIB / 16),
    clear: removeOurs,
  };
  const elsewhere: Case = {
    name: 'refused by the extender alone',
    strangers: MANY,
    prepare: async () => {
      await makeOurs({ annotations: { 'nabustore.io/models': 'nowhere', 'nabustore.io/locality': 'required' } });
      await untilRefused();
    },
    clear: removeOurs,
  };

  async function drainAll(): Promise<void> {
    // First the one whose rate is not compared: it finds everything cold.
    await drain(full);
    for (let round = 0; round < ROUNDS; round++) {
      for (const each of round % 2 === 0 ? [alone, gated] : [gated, alone]) await drain(each);
    }
    await drain(elsewhere);
  }

  before(async function () {
    this.timeout(290_000);
    const stopping = new AbortController();
    const following = followService(stopping.signal);
    try {
      await Promise.race([drainAll(), following]);
    } finally {
      stopping.abort();
      await following;
    }
    for (const name of drained.keys()) {
      const { strangers, seconds, calls, hungSeconds } = sumOf(name);
      const each = of(name).map((one) => one.seconds.toFixed(1));
      const hung = `${calls} calls without an answer took ${hungSeconds.toFixed(2)} of ${seconds.toFixed(1)} s`;
      say(`${name}: ${strangers} strangers in ${each.join(' + ')} s; ${hung}`);
    }
    const shares = gatedShares().map((share) => share.toFixed(2));
    say(`${gated.name}, of their rate alone: ${median(gatedShares()).toFixed(2)}, the median of ${shares.join(', ')}`);
    const usual = median(of(alone.name).map(({ seconds }) => seconds));
    say(`${elsewhere.name}, of it: ${(usual / sumOf(elsewhere.name).seconds).toFixed(2)}`);
  });

  const of = (name: string): readonly Drained[] => drained.get(name) ?? [];
  const sumOf = (name: string): Drained => {
    const all = of(name);
    const sum = (figure: keyof Drained): number => all.reduce((total, one) => total + one[figure], 0);
    return {
      strangers: sum('strangers'),
      seconds: sum('seconds'),
      calls: sum('calls'),
      hungSeconds: sum('hungSeconds'),
    };
  };
  /** Of each round; the numbers of strangers are the same. */
  const gatedShares = (): number[] =>
    of(alone.name).map(({ seconds }, round) => seconds / (of(gated.name)[round]?.seconds ?? Number.NaN));

  it('keep four fifths of their rate where ours wait behind the gate, which lets a window of them through', () => {
    const { calls, hungSeconds, seconds } = sumOf(gated.name);
    const share = median(gatedShares());
    assert(calls >= ROUNDS * WINDOW, `${calls} calls`);
    assert(share >= SHARE, `${share} of their rate`);
    assert(hungSeconds <= (1 - SHARE) * seconds, `${hungSeconds} of ${seconds} s of the loop`);
  });

  it('pay nothing for ours that had been refused because storage is full: the scheduler finds that itself', () => {
    assert.equal(sumOf(full.name).calls, 0);
  });

  it('wait no longer than the gate takes to find out where ours had been refused by the extender alone', () => {
    const { calls, hungSeconds } = sumOf(elsewhere.name);
    assert(calls > 0);
    assert(hungSeconds <= MOST_HUNG_SECONDS, `${hungSeconds} s`);
  });
});
