import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { GateController, KubeGatedPods } from '../../../scheduler-extender/gate/index.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';
import type { Given } from '../../support/extender/objects.ts';

const GATE = 'nabustore.io/extender';
const MARKER = 'nabustore.io/locality';
const WINDOW = 2;
const PODS = '/api/v1/pods';

type PodState = {
  readonly uid?: string;
  readonly gates?: readonly string[];
  readonly reason?: string;
  readonly node?: string;
};

function pod(name: string, { uid = `uid-${name}`, gates = [GATE], reason, node }: PodState = {}): Given {
  return {
    metadata: { name, namespace: 'ns', uid },
    spec: {
      schedulerName: 'default-scheduler',
      schedulingGates: gates.map((gate) => ({ name: gate })),
      containers: [{ name: 'main', resources: { limits: { [MARKER]: '1' }, requests: { [MARKER]: '1' } } }],
      ...(node === undefined ? {} : { nodeName: node }),
    },
    status: {
      phase: 'Pending',
      conditions: reason === undefined ? [] : [{ type: 'PodScheduled', status: 'False', reason }],
    },
  };
}

describe('the gate and an API server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-gate-faults-'));
  const kubeconfig = join(folder, 'kubeconfig');
  let server: FakeApiServer;
  let gate: GateController;

  /** The time-out of the test ends it. */
  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await realClock.sleep(5);
  }
  const open = (): Promise<KubeGatedPods> =>
    KubeGatedPods.open({ kubeconfig, gate: GATE, marker: MARKER, clock: realClock, logger: silentLogger });
  async function start(): Promise<void> {
    gate = new GateController({
      api: await open(),
      rate: { perSecond: 1000, burst: 1000, window: WINDOW },
      closed: () => undefined,
      isPlaced: () => false,
      clock: realClock,
      logger: silentLogger,
    });
    gate.start();
  }

  beforeEach(async () => {
    server = await FakeApiServer.start();
    server.writeKubeconfig(kubeconfig);
    for (let at = 0; at < 6; at++) server.put(PODS, pod(`p${at}`));
    await start();
    await until(() => gate.lifted === WINDOW && gate.unjudged === WINDOW);
  });
  afterEach(async () => {
    await gate.stop();
    await server.close();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('let the next through when one is refused or placed, and not for an error of the scheduler', async () => {
    server.put(PODS, pod('p0', { gates: [], reason: 'SchedulerError' }));
    server.put(PODS, pod('p1', { gates: [], reason: 'Unschedulable' }));
    await until(() => gate.lifted === WINDOW + 1);
    server.put(PODS, pod('p0', { gates: [], node: 'n1' }));
    await until(() => gate.lifted === WINDOW + 2);
    assert.deepEqual([gate.unjudged, gate.waiting], [WINDOW, 6 - WINDOW - 2]);
  });

  it('count one that was refused and comes back with an error', async () => {
    server.put(PODS, pod('p0', { gates: [], reason: 'Unschedulable' }));
    await until(() => gate.lifted === WINDOW + 1);
    server.put(PODS, pod('p0', { gates: [], reason: 'SchedulerError' }));
    await until(() => gate.unjudged === WINDOW + 1);
    server.put(PODS, pod('p1', { gates: [], node: 'n1' }));
    await until(() => gate.unjudged === WINDOW);
    assert.equal(gate.lifted, WINDOW + 1);
  });

  it('go on from where they were when watches end', async () => {
    const { lists } = server;
    server.endWatches();
    server.put(PODS, pod('p0', { gates: [], node: 'n1' }), true);
    await until(() => gate.lifted === WINDOW + 1);
    assert.equal(server.lists, lists);
  });

  it('find out by a list what became of pods where a watch cannot go on (410 Gone)', async () => {
    const { lists } = server;
    server.remove(PODS, pod('p0'), true);
    server.put(PODS, pod('p1', { gates: [], reason: 'Unschedulable' }), true);
    server.endWatches(true);
    await until(() => gate.lifted === 2 * WINDOW);
    assert(server.lists > lists);
    assert.deepEqual([gate.unjudged, gate.waiting], [WINDOW, 6 - 2 * WINDOW]);
  });

  it('wait while the API server cannot be asked, and lift each gate once afterwards', async () => {
    server.brokenStatus = 503;
    server.endWatches();
    server.put(PODS, pod('p0', { gates: [], node: 'n1' }), true);
    await assert.rejects(
      (await open()).lift({ uid: 'uid-p5', namespace: 'ns', name: 'p5', scheduler: '' }, AbortSignal.timeout(5000)),
      {
        code: 'UNAVAILABLE',
      },
    );
    assert.equal(gate.lifted, WINDOW);
    server.brokenStatus = undefined;
    await until(() => gate.lifted === WINDOW + 1);
  });

  it('hold nothing against a pod that is gone, or another one by its name', async () => {
    const api = await open();
    const lift = (uid: string, name: string): Promise<boolean> =>
      api.lift({ uid, namespace: 'ns', name, scheduler: '' }, AbortSignal.timeout(5000));
    assert.deepEqual(
      [await lift('uid-x', 'x'), await lift('uid-before', 'p5'), await lift('uid-p5', 'p5')],
      [false, false, true],
    );
  });
});
