import assert from 'node:assert/strict';
import { Watch } from '@kubernetes/client-node';
import { get } from '../../support/extender/served.ts';
import { until } from '../host/until.ts';
import type { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { makeClaim, makePod } from './cluster-objects.ts';
import type { ExtenderProcess } from './extender-process.ts';
import type { Meddler, Recorder } from './recorder.ts';
import type { Relay } from './relay.ts';
import { GIB, NAMESPACE as namespace, onStage, type Stage, WAKE } from './stage.ts';
import type { StubProvisioner } from './stub-provisioner.ts';

const PODS = 24;
const ROOM = 18;
/** By then the fault begins. */
const SOME = 4;
const WINDOW = 3;
const HTTP_TIMEOUT_MS = 100;
/** Slow enough that a burst takes longer than a fault needs to begin. */
const RATE = ['--gate-rate', '8', '--gate-burst', '1', '--gate-window', String(WINDOW)];
const WAIT_MS = 60_000;

const GARBAGE: readonly string[] = [
  'no JSON',
  '{"NodeNames":["no-such-node"],"FailedNodes":null}',
  '[{"Host":"n0","Score":',
  '{"NodeNames":"n0"}',
  '\u0000\u0001',
  '{"Error":"it does not feel like it"}',
];

describe('in the middle of a burst nothing is overcommitted, ours wait and then run, and strangers do not wait, when', () => {
  let stage: Stage;
  let provisioner: StubProvisioner;
  let extender: ExtenderProcess;
  let gate: SchedulerAdmissionProcess;
  /** Scheduler - recorder - relay - extender - relay - API server. */
  let recorder: Recorder;
  let relay: Relay;
  let api: Relay;
  let bursts = 0;

  onStage(async (given) => {
    stage = given;
    await stage.nodes(3);
    provisioner = await stage.provisioner(0);
    api = await stage.relayApi();
    extender = await stage.readyExtender(...WAKE);
    relay = await stage.relay(extender.port);
    recorder = await stage.recorder(relay.port);
    const port = recorder.port;
    await stage.plane.startScheduler({ port, nodeCacheCapable: true, httpTimeoutMs: HTTP_TIMEOUT_MS });
    gate = await stage.gate(relay.port, ...RATE);
  });

  async function figure(name: string): Promise<number> {
    const { text } = await get(gate.healthPort, '/metrics');
    return Number(new RegExp(`^nabustore_gate_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  }
  const untilGate = (what: string, holds: () => Promise<boolean>): Promise<true> =>
    until(what, WAIT_MS, async () => (await holds()) || undefined);
  const untilClosed = (): Promise<true> => untilGate('the gate is closed', async () => (await figure('open')) === 0);
  /** The gate hears nothing of this fault; what is with the scheduler fails and is tried again. */
  const untilFull = (): Promise<true> =>
    untilGate('as many as may fail do', async () => {
      return (await figure('unjudged_pods')) === WINDOW && (await figure('waiting_pods')) > 0;
    });

  async function pods(burst: string): Promise<{ bound: number; refused: number }> {
    const { items } = await stage.core.listNamespacedPod({ namespace });
    const some = items.filter(({ metadata }) => metadata?.name?.startsWith(burst));
    const waiting = some.filter(({ spec }) => !spec?.nodeName);
    const refused = waiting.filter(({ status }) => {
      return status?.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable');
    });
    return { bound: some.length - waiting.length, refused: refused.length };
  }

  async function strangersRun(burst: string): Promise<void> {
    for (let at = 0; at < 3; at++) await makePod(stage.config, namespace, `stranger-${burst}${at}`, { stranger: true });
    await until('strangers run', WAIT_MS, async () =>
      (await pods(`stranger-${burst}`)).bound === 3 ? true : undefined,
    );
  }

  /** What a watch from this version on is told to have gone wrong, if anything. */
  async function codeOfWatch(resourceVersion: string): Promise<unknown> {
    const told = Promise.withResolvers<unknown>();
    const heard = (phase: string, object: { code?: number }): void =>
      told.resolve(phase === 'ERROR' ? object.code : phase);
    const ended = (err: unknown): void => told.resolve(Reflect.get(Object(err), 'statusCode'));
    const watch = new Watch(stage.config);
    const controller = await watch.watch('/api/v1/pods', { resourceVersion, timeoutSeconds: 10 }, heard, ended);
    return await told.promise.finally(() => controller.abort());
  }

  afterEach(async () => {
    api.isOpen = true;
    recorder.meddler = undefined;
    extender.signal('SIGCONT');
    await stage.core.deleteCollectionNamespacedPod({
      namespace,
      fieldSelector: 'spec.nodeName=',
      gracePeriodSeconds: 0,
    });
  });

  /** `fault` begins when some of ours run, and resolves when it is over, with how many could run that no longer can. */
  async function burst(fault: (name: string) => Promise<number | undefined>): Promise<void> {
    const name = `b${bursts++}-`;
    const { made, exhausted } = provisioner;
    await provisioner.grow(ROOM * GIB);
    await Promise.all(
      Array.from({ length: PODS }, async (_, at) => {
        await makeClaim(stage.config, namespace, `${name}${at}`, '1Gi');
        await makePod(stage.config, namespace, `${name}${at}`, { claim: `${name}${at}`, gated: true });
      }),
    );
    const begun = await until('some run', WAIT_MS, async () => {
      const { bound } = await pods(name);
      return bound >= SOME ? bound : undefined;
    });
    assert(begun < ROOM, 'it is in the middle');
    const taken = (await fault(name)) ?? 0;
    const room = ROOM - taken;
    await until(`${room} run, and the others know why not`, WAIT_MS, async () => {
      const { bound, refused } = await pods(name);
      if (bound !== room || refused !== PODS - room) throw new Error(`${bound} run, ${refused} know why not`);
      return true;
    });
    assert.equal(provisioner.made - made, room);
    // Room that somebody else takes, unheard of, is missed only when a volume is made: the last guard.
    const vain = provisioner.exhausted - exhausted;
    assert(vain === 0 || taken > 0, `${vain} were let through for whom there was no room`);
  }

  it('the extender is killed', () =>
    burst(async (name) => {
      await extender.stop('SIGKILL');
      await untilClosed();
      await strangersRun(name);
      extender = await stage.readyExtender(...WAKE);
      relay.to = extender.port;
    }));

  it('the extender hangs', () =>
    burst(async (name) => {
      extender.signal('SIGSTOP');
      await untilClosed();
      await strangersRun(name);
      extender.signal('SIGCONT');
    }));

  it('the extender answers garbage', () =>
    burst(async (name) => {
      let answers = 0;
      const garbage = async (): ReturnType<Meddler> => {
        const at = answers++ % GARBAGE.length;
        return { status: at === 0 ? 500 : 200, answer: GARBAGE[at] ?? '' };
      };
      recorder.meddler = garbage;
      await untilFull();
      await strangersRun(name);
      recorder.meddler = async (verb, honest) => (verb === 'prioritize' ? garbage() : honest);
    }));

  it('the extender is slow, then too slow', () =>
    burst(async (name) => {
      const late = (ms: number): Meddler => {
        return (_, honest) => new Promise((resolve) => setTimeout(() => resolve(honest), ms));
      };
      recorder.meddler = late(HTTP_TIMEOUT_MS / 3);
      const before = (await pods(name)).bound;
      await until('one more runs', WAIT_MS, async () => ((await pods(name)).bound > before ? true : undefined));
      recorder.meddler = late(HTTP_TIMEOUT_MS * 2);
      await untilFull();
      await strangersRun(name);
      recorder.meddler = undefined;
    }));

  it('the API server is killed and starts again', () =>
    burst(async (name) => {
      await stage.plane.killApiServer();
      await stage.plane.startApiServer();
      await strangersRun(name);
    }));

  it('watches end, again and again', () =>
    burst(async (name) => {
      for (let times = 0; times < 3; times++) {
        api.cut();
        const before = (await pods(name)).bound;
        await until('one more runs', WAIT_MS, async () => ((await pods(name)).bound > before ? true : undefined));
      }
      await strangersRun(name);
    }));

  it('watches cannot go on from where they were (410 Gone), and meanwhile there is less room', () =>
    burst(async (name) => {
      const { metadata } = await stage.core.listNamespacedPod({ namespace, limit: 1 });
      api.isOpen = false;
      api.cut();
      await strangersRun(name);
      const left = await until('who was let through has been placed', WAIT_MS, async () => {
        const { items } = await stage.core.listNamespacedPod({ namespace, fieldSelector: 'spec.nodeName=' });
        const isPlaced = items.every(({ spec }) => (spec?.schedulingGates ?? []).length > 0);
        return isPlaced ? items.length - (PODS - ROOM) : undefined;
      });
      const taken = Math.ceil(left / 2);
      await provisioner.grow(-taken * GIB);
      await until('that is published', WAIT_MS, async () => (provisioner.isPublished ? true : undefined));
      await stage.plane.killApiServer();
      await stage.plane.startApiServer();
      assert.equal(await codeOfWatch(metadata?.resourceVersion ?? ''), 410);
      api.isOpen = true;
      return taken;
    }));

  it('clocks jump', () =>
    burst(async (name) => {
      for (let times = 0; times < 3; times++) {
        for (const process of [extender, gate]) process.jumpClock();
        const before = (await pods(name)).bound;
        await until('one more runs', WAIT_MS, async () => ((await pods(name)).bound > before ? true : undefined));
      }
      await strangersRun(name);
    }));
});
