import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../common/logging/index.ts';
import { type Clock, realClock } from '../../../common/ports/index.ts';
import { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import { DEFAULT_PLACE_LABELS } from '../../../scheduler-extender/kube/index.ts';
import { ClusterWatches } from '../../../scheduler-extender/watch/index.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';
import { type Given, nodeObject, podObject, reportObject } from '../../support/extender/objects.ts';

const NODES = '/api/v1/nodes';
const PODS = '/api/v1/pods';
const REPORTS = '/apis/nabustore.io/v1alpha1/localityreports';
const HOUR_MS = 3_600_000;

describe('a watch of the API server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-extender-faults-'));
  const kubeconfig = join(folder, 'kubeconfig');
  let server: FakeApiServer;
  let index: ClusterIndex;
  let watches: ClusterWatches;
  let jumpMs: number;

  /** Its wall clock jumps when a test says so; waits between two attempts are short. */
  const clock: Clock = {
    ...realClock,
    nowMs: () => realClock.nowMs() + jumpMs,
    setTimer: (callback, delayMs, options) => realClock.setTimer(callback, delayMs / 10, options),
  };
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await realClock.sleep(5);
  };
  const names = (): string[] => ['a', 'b', 'c', 'd'].filter((name) => index.nodes.present[slotOf(name)] === 1);
  const slotOf = (name: string): number => index.nodes.names.find(name);

  beforeEach(async () => {
    server = await FakeApiServer.start();
    server.writeKubeconfig(kubeconfig);
    server.statuses.delete(REPORTS);
    index = new ClusterIndex();
    jumpMs = 0;
    for (const name of ['a', 'b']) server.put(NODES, nodeObject(name));
    watches = await ClusterWatches.start({
      kubeconfig,
      labels: DEFAULT_PLACE_LABELS,
      sink: index,
      staleMs: 60_000,
      further: [],
      clock,
      logger: silentLogger,
    });
    await until(() => watches.incomplete() === undefined);
  });
  afterEach(async () => {
    await watches.stop();
    await server.close();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const goneBy of ['event', 'status'] as const) {
    it(`that is told by ${goneBy} that it begins too far back is begun anew with a list`, async () => {
      server.goneBy = goneBy;
      server.remove(NODES, nodeObject('a'), true);
      server.put(NODES, nodeObject('c'), true);
      server.endWatches(true);
      await until(() => names().join() === 'b,c');
      server.put(NODES, nodeObject('d'));
      await until(() => names().join() === 'b,c,d');
      assert.equal(watches.unready(), undefined);
    });
  }

  it('begins its list again where the token for the next page has expired', async () => {
    server.pageLimit = 1;
    server.expiredPages = 3;
    server.put(NODES, nodeObject('c'), true);
    server.endWatches(true);
    await until(() => names().join() === 'a,b,c');
    assert.equal(server.expiredPages, 0);
  });

  it('goes on where it was after the connection is cut in the middle of an event', async () => {
    const { lists } = server;
    server.cut();
    server.put(NODES, nodeObject('c'), true);
    await until(() => names().join() === 'a,b,c');
    server.remove(NODES, nodeObject('c'));
    await until(() => names().join() === 'a,b');
    assert.equal(server.lists, lists);
  });

  it('passes over what is no event', async () => {
    for (const line of [
      '<html>',
      'null',
      '[]',
      '{"type":"ADDED"}',
      '{"type":"MODIFIED","object":null}',
      '{"type":"ADDED","object":{"metadata":"x"}}',
      '{"type":"DELETED","object":{"metadata":{"name":"nobody"}}}',
      '{"type":"NEWS","object":{"metadata":{"name":"a"}}}',
    ])
      server.tellRaw(NODES, line);
    server.put(NODES, nodeObject('c'));
    await until(() => names().join() === 'a,b,c');
    assert.equal(watches.unready(), undefined);
  });

  it('loses nothing when the server is away for a while and comes back with other objects', async () => {
    const old = podObject('p', { claims: ['c'], node: 'a' });
    server.put(PODS, old);
    await until(() => index.pods.count === 1);
    server.brokenStatus = 503;
    server.endWatches(true);
    server.remove(PODS, old, true);
    server.put(PODS, podObject('q', { claims: ['c'], node: 'b' }), true);
    await until(() => /status 503|Service Unavailable/.test(JSON.stringify(watches.states)));
    server.brokenStatus = undefined;
    await until(() => index.pods.find('uid-q') !== undefined && index.pods.find('uid-p') === undefined);
  });

  it('does not mind that the clock of this machine jumps: nothing turns old, and reports stay believed', async () => {
    const report = (cachedBytes: number): Given => {
      const contents = [{ kind: 'Model', id: 'm', sizeBytes: 100, cachedBytes }];
      return reportObject('a', contents, { reportedAt: new Date().toISOString() });
    };
    const cached = (): number => index.storage.content('model', 'm')?.holders[0]?.bytes ?? 0;
    server.put(REPORTS, report(40));
    await until(() => cached() === 40);
    for (const [at, by] of [HOUR_MS, -HOUR_MS, 24 * HOUR_MS].entries()) {
      jumpMs = by;
      server.endWatches(true);
      server.put(NODES, nodeObject(at % 2 === 0 ? 'c' : 'd'), true);
      await until(() => names().includes(at % 2 === 0 ? 'c' : 'd'));
      assert.deepEqual([watches.unready(), watches.staleness()], [undefined, '']);
      assert(cached() > 0, 'a report that was there is as old as before');
      server.put(REPORTS, report(50 + at));
      await until(() => cached() === 50 + at);
    }
  });
});
