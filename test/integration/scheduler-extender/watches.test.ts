import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, silentLogger } from '../../../common/logging/index.ts';
import { type Clock, realClock } from '../../../common/ports/index.ts';
import { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import { DEFAULT_PLACE_LABELS } from '../../../scheduler-extender/kube/index.ts';
import { ClusterWatches, type ClusterWatchesOptions } from '../../../scheduler-extender/watch/index.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';
import {
  capacityObject,
  claimObject,
  classObject,
  csiNodeObject,
  type Given,
  hcaDevice,
  nodeObject,
  podObject,
  reportObject,
  sliceObject,
  volumeObject,
} from '../../support/extender/objects.ts';

describe('what the API server tells', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-extender-watch-'));
  const kubeconfig = join(folder, 'kubeconfig');
  let server: FakeApiServer;
  let index: ClusterIndex;
  let watches: ClusterWatches | undefined;
  let staleMs: number;

  const start = async (other: Partial<ClusterWatchesOptions> = {}): Promise<ClusterWatches> => {
    watches = await ClusterWatches.start({
      kubeconfig,
      labels: DEFAULT_PLACE_LABELS,
      sink: index,
      staleMs,
      further: [],
      clock: realClock,
      logger: silentLogger,
      ...other,
    });
    return watches;
  };
  /** The next change of the index after which the condition holds; the time-out of the test ends it. */
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const stop = index.onChange(() => check());
      const timer = setInterval(() => check(), 5);
      const check = (): void => {
        if (!holds()) return;
        stop();
        clearInterval(timer);
        resolve();
      };
    });
  const synced = (): boolean => watches?.incomplete() === undefined;

  beforeEach(async () => {
    server = await FakeApiServer.start();
    server.writeKubeconfig(kubeconfig);
    index = new ClusterIndex();
    staleMs = 60_000;
  });
  afterEach(async () => {
    await watches?.stop();
    watches = undefined;
    await server.close();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is known whole before it counts as known, pages and all, and then follows each change', async () => {
    server.pageLimit = 7;
    for (let at = 0; at < 50; at++) server.put('/api/v1/nodes', nodeObject(`n${at}`));
    server.put('/apis/storage.k8s.io/v1/csinodes', csiNodeObject('n1', 8));
    server.put('/apis/storage.k8s.io/v1/storageclasses', classObject('fast'));
    server.put('/apis/storage.k8s.io/v1/csistoragecapacities', capacityObject('x', 'fast', '1Ti'));
    server.put('/api/v1/persistentvolumes', volumeObject('v'));
    server.put('/api/v1/persistentvolumeclaims', claimObject('c', { volume: 'v' }));
    server.put('/api/v1/pods', podObject('p', { claims: ['c'], node: 'n1' }));
    const started = await start();
    assert.match(started.incomplete() ?? '', /has not heard of all nodes, CSI nodes, storage classes/);
    await until(synced);
    const slot = index.nodes.names.find('n1');
    assert.deepEqual([index.nodes.count, index.nodes.attached[slot], index.nodes.attachLimit[slot]], [50, 1, 8]);
    assert.deepEqual([index.classes.count, index.capacities.count, started.unready()], [1, 1, undefined]);
    server.put('/api/v1/nodes', nodeObject('new', { zone: 'z' }));
    server.remove('/api/v1/pods', podObject('p', { claims: ['c'], node: 'n1' }));
    await until(() => index.nodes.count === 51 && index.pods.count === 0);
    assert.equal(index.nodes.attached[slot], 0);
  });

  it('goes on where it was after the server ends its watches, and lists anew where that is too old', async () => {
    for (const name of ['a', 'b']) server.put('/api/v1/nodes', nodeObject(name));
    await start();
    await until(synced);
    const lists = server.lists;
    server.endWatches();
    server.put('/api/v1/nodes', nodeObject('c'), true);
    await until(() => index.nodes.count === 3);
    assert.equal(server.lists, lists);
    server.remove('/api/v1/nodes', nodeObject('a'), true);
    server.endWatches(true);
    await until(() => index.nodes.count === 2);
    assert(server.lists > lists);
  });

  it('tells a pod that was deleted and made again under its name, unseen, from its predecessor', async () => {
    const old = podObject('p', { claims: ['c'], node: 'n' });
    server.put('/api/v1/pods', old);
    await start();
    await until(() => index.pods.count === 1);
    server.remove('/api/v1/pods', old, true);
    server.put('/api/v1/pods', { ...old, metadata: { ...(old.metadata as object), uid: 'another' } }, true);
    server.endWatches();
    await until(() => index.pods.find('another') !== undefined);
    assert.equal(index.pods.find('uid-p'), undefined);
    assert.equal(index.claims.use('ns/c').pods.size, 1);
  });

  it('is tried again while the server refuses, and said to be old when nothing is heard', async () => {
    staleMs = 2000;
    server.brokenStatus = 503;
    const started = await start();
    await until(() => /status 503/.test(started.unready() ?? ''));
    server.brokenStatus = undefined;
    server.put('/api/v1/nodes', nodeObject('a'));
    await until(synced);
    assert.equal(started.staleness(), '');
    server.brokenStatus = 500;
    server.endWatches();
    await until(() => started.staleness() !== '');
    assert.match(started.staleness(), /nothing was heard of .*\bfor \d+ s/);
    assert.equal(started.incomplete(), undefined, 'what is known is answered on, and said to be old');
    server.brokenStatus = undefined;
    await until(() => started.unready() === undefined);
  });

  it('leaves out an object that makes no sense, and keeps the others', async () => {
    server.put('/api/v1/pods', { metadata: { name: 'odd', namespace: 'ns' }, spec: { volumes: 'none' } });
    server.put('/api/v1/pods', podObject('p', { claims: ['c'] }));
    await start();
    await until(() => synced() && index.pods.count === 1);
  });

  const ODD = 'an object cannot be understood';
  const REPORTS = '/apis/nabustore.io/v1alpha1/localityreports';
  const sayingNow = (node: string, cachedBytes: number): Given => {
    const contents = [{ kind: 'Model', id: 'm', sizeBytes: 100, cachedBytes }];
    return reportObject(node, contents, { reportedAt: new Date().toISOString() });
  };
  const cached = (): number => index.storage.content('model', 'm')?.holders[0]?.bytes ?? 0;

  it('is known without what the cluster does not have or does not show, and says so, once', async () => {
    for (const [status, missing] of [
      [404, 'KUBE_NOT_FOUND'],
      [403, 'PERMISSION_DENIED'],
    ] as const) {
      server.statuses.set(REPORTS, status);
      const started = await start();
      await until(synced);
      const state = started.states.find(({ plural }) => plural === 'locality reports');
      assert.deepEqual([state?.missing, started.unready(), started.staleness()], [missing, undefined, '']);
      await started.stop();
    }
  });

  it('is taken up as soon as the resource is installed, without a restart', async () => {
    const hasty: Clock = {
      ...realClock,
      setTimer: (callback, delayMs, options) => realClock.setTimer(callback, delayMs / 100, options),
    };
    const started = await start({ clock: hasty });
    await until(synced);
    server.put('/api/v1/nodes', nodeObject('n'));
    server.put(REPORTS, sayingNow('n', 40));
    server.statuses.delete(REPORTS);
    await until(() => cached() === 40);
    assert.equal(started.states.find(({ plural }) => plural === 'locality reports')?.missing, undefined);
  });

  it('includes devices for claims, of our driver alone', async () => {
    const slices = '/apis/resource.k8s.io/v1/resourceslices';
    server.statuses.delete(slices);
    server.put(slices, sliceObject('s', 'n', [hcaDevice(0), hcaDevice(1)]));
    await start();
    await until(() => index.slices.units(index.nodes.names.find('n'), 'nabustore.io/rdma')?.total === 2);
    assert(server.queries.some((query) => query.get('fieldSelector') === 'spec.driver=devices.nabustore.io'));
    server.put(slices, sliceObject('s', 'n', [hcaDevice(0)], 2));
    await until(() => index.slices.units(index.nodes.names.find('n'), 'nabustore.io/rdma')?.total === 1);
  });

  it('is what a node last reported, as long as that made sense, and tells of a report that does not by name, once', async () => {
    const told: unknown[] = [];
    const logger: Logger = {
      ...silentLogger,
      warn: (message, fields) => void (message === ODD && told.push(fields?.object)),
    };
    server.statuses.delete(REPORTS);
    server.put(REPORTS, sayingNow('n', 40));
    const started = await start({ logger });
    await until(() => cached() === 40);
    for (let at = 0; at < 3; at++) server.put(REPORTS, sayingNow('n', 10_000));
    server.put(REPORTS, reportObject('other', 'nothing' as never));
    server.put(REPORTS, sayingNow('last', 1));
    await until(() => index.localities.counts.reports === 2);
    assert.deepEqual([told, cached()], [['/n', '/other'], 40]);
    assert.deepEqual(
      started.states.flatMap(({ odd = 0 }) => (odd > 0 ? [odd] : [])),
      [2],
    );
    server.put(REPORTS, sayingNow('n', 50));
    await until(() => cached() === 50);
    server.remove(REPORTS, sayingNow('n', 50));
    server.remove(REPORTS, sayingNow('last', 1));
    await until(() => index.storage.content('model', 'm') === undefined);
  });

  it('is not asked for without a usable kubeconfig', async () => {
    const options = {
      labels: DEFAULT_PLACE_LABELS,
      sink: index,
      staleMs,
      further: [],
      clock: realClock,
      logger: silentLogger,
    };
    await assert.rejects(ClusterWatches.start({ ...options, kubeconfig: join(folder, 'none') }), {
      code: 'CONFIG_INVALID',
    });
  });
});
