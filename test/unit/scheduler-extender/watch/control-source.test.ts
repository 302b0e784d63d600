import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { epoch, nodeId } from '../../../../engine/blob/index.ts';
import type { AgedNodeReport, ControlClient, Volume } from '../../../../engine/control/index.ts';
import type { ClusterMap, MapNode } from '../../../../engine/placement/index.ts';
import { ClusterIndex } from '../../../../scheduler-extender/cluster/index.ts';
import { ControlSource } from '../../../../scheduler-extender/watch/index.ts';

const GIB = 2 ** 30;

function mapNode(at: number): MapNode {
  return {
    id: nodeId(`s${at}`),
    address: { host: '127.0.0.1', port: 1 },
    domain: { zone: 'a', rack: `r${at}`, host: `h${at}` },
    weight: 1,
    state: 'up',
    capacityBytes: 10 * GIB,
  };
}

function volume(at: number, sizeGib: number): Volume {
  return {
    id: String(at).padStart(32, '0'),
    name: `pvc-uid-${at}`,
    policy: 'ec:4+2',
    failureDomain: 'host',
    maxShardsPerDomain: 1,
    provisioning: 'thick',
    tier: '',
    state: 'ready',
    sizeBytes: BigInt(sizeGib) * 2n ** 30n,
    resourceVersion: BigInt(sizeGib),
    homeSet: ['s0', 's1'],
    homeSetVersion: 1n,
    generation: 0n,
    createdMs: 0n,
    parameters: {},
    attachment: null,
    report: null,
  };
}

describe('what control tells', () => {
  let nodes: MapNode[];
  let volumes: Volume[];
  let isBroken: boolean;
  let reports: AgedNodeReport[] | undefined;
  let index: ClusterIndex;
  let clock: SimClock;
  let source: ControlSource;

  const control: Pick<ControlClient, 'getMap' | 'listVolumes' | 'listNodeReports'> = {
    listNodeReports: async () => {
      if (reports === undefined)
        throw NabuError.of('UNIMPLEMENTED', { operation: 'ListNodeReports', reason: 'it is old' });
      return reports;
    },
    getMap: async (): Promise<ClusterMap> => {
      if (isBroken) throw new Error('control is away');
      return { clusterId: '0'.repeat(32), epoch: epoch(1), nodes };
    },
    listVolumes: async ({ pageToken = '', limit = 100 }) => {
      const from = Number(pageToken);
      const page = volumes.slice(from, from + Math.min(limit, 2));
      const nextPageToken = from + page.length < volumes.length ? String(from + page.length) : '';
      return { volumes: page, nextPageToken };
    },
  };

  beforeEach(() => {
    nodes = [mapNode(0), mapNode(1)];
    volumes = [volume(1, 1), volume(2, 2), volume(3, 3)];
    isBroken = false;
    reports = [];
    index = new ClusterIndex();
    clock = new SimClock();
    const { growth } = index.storage;
    source = new ControlSource({ control, sink: index, growth, pollMs: 1000, clock, logger: silentLogger });
  });
  afterEach(() => source.stop());

  it('is known after the first look, all pages of it', async () => {
    source.start();
    await clock.advance(1);
    assert.deepEqual(index.storage.counts, { storageNodes: 2, records: 3, contents: 0 });
    assert.equal(source.state.synced, true);
    assert.equal(index.storage.freeBytes, 18 * GIB - 9 * GIB);
    assert(index.storage.hasRecordNamed('pvc-uid-2'));
  });

  it('follows what changes, and forgets what is gone', async () => {
    source.start();
    await clock.advance(1);
    const told: string[] = [];
    index.onChange((kind, key) => told.push(`${kind} ${key.replace(/^0+/, '')}`));
    await clock.advance(1000);
    assert.deepEqual(told, [], 'what is as it was is not told again');
    volumes = [volume(1, 4), volume(3, 3)];
    nodes = [mapNode(0)];
    await clock.advance(1000);
    assert.deepEqual(told, ['storageNode s1', 'record 1', 'record 2']);
    assert.equal(index.storage.freeBytes, 9 * GIB - 10.5 * GIB);
  });

  it('is read again soon when more is published than before, once for all that rises together', async () => {
    source.start();
    await clock.advance(1);
    const capacity = (key: string, gib: number): void =>
      index.put('capacity', {
        key,
        className: 'fast',
        capacityBytes: gib * GIB,
        maxVolumeBytes: undefined,
        segment: { zones: undefined, nodes: undefined },
      });
    for (const key of ['a', 'b']) capacity(key, 1);
    assert.equal(index.storage.growth.isUnread, false, 'the first word is no growth');
    capacity('a', 0);
    assert.equal(index.storage.growth.isUnread, false, 'less is no growth');
    nodes = [mapNode(0), mapNode(1), mapNode(2)];
    capacity('a', 2);
    await clock.advance(50);
    capacity('b', 2);
    assert.equal(index.storage.growth.isUnread, true);
    assert.equal(index.storage.counts.storageNodes, 2);
    await clock.advance(50);
    assert.equal(index.storage.counts.storageNodes, 3);
    assert.equal(index.storage.growth.isUnread, false);
  });

  it('leaves growth unread while control cannot be read, and does not ask faster', async () => {
    source.start();
    await clock.advance(1);
    isBroken = true;
    index.storage.growth.notice();
    await clock.advance(100);
    assert.notEqual(source.state.trouble, '');
    assert.equal(index.storage.growth.isUnread, true);
    isBroken = false;
    await clock.advance(999);
    assert.equal(index.storage.growth.isUnread, true);
    await clock.advance(1);
    assert.equal(index.storage.growth.isUnread, false);
  });

  it('includes what storage nodes measure, until that is old', async () => {
    const report = (load: number, microseconds: number): AgedNodeReport['report'] => {
      const roundTrips = [
        { zone: 'a', rack: '', microseconds },
        { zone: 'a', rack: 'r1', microseconds: 20 },
      ];
      return { load, roundTrips, silentZones: ['a', 'dead'] };
    };
    reports = [{ nodeId: 's0', report: report(0.5, 100), ageMs: 1000n }];
    source.start();
    await clock.advance(1);
    const spread = (): { slowness: number; rttS: number | undefined } => {
      const { evenly } = index.storage;
      return { slowness: evenly.all.slowness, rttS: evenly.measuredRttS(index.nodes.places.of('a', 'r9', '')) };
    };
    assert.equal(spread().slowness, (2 + 1) / 2);
    assert(Math.abs((spread().rttS ?? 0) - 100e-6) < 10e-6);
    assert.deepEqual(index.storage.reach('a', 'host').up, 1, 's0 hears nothing of zone a, where a node is alive');
    const told: string[] = [];
    index.onChange((kind, key) => told.push(`${kind} ${key}`));
    reports = [{ nodeId: 's0', report: report(0.505, 101), ageMs: 1000n }];
    await clock.advance(1000);
    assert.deepEqual(told, [], 'noise is no news');
    reports = [{ nodeId: 's0', report: report(0.5, 100), ageMs: 61_000n }];
    await clock.advance(1000);
    assert.deepEqual([spread(), index.storage.reach('a', 'host').up], [{ slowness: 1, rttS: undefined }, 2]);
  });

  it('goes without measurements where control is too old to have any', async () => {
    reports = undefined;
    source.start();
    await clock.advance(1);
    assert.deepEqual([source.state.trouble, index.storage.counts.storageNodes], ['', 2]);
  });

  it('forgets nothing while control is away, says so, and goes on when it is back', async () => {
    source.start();
    await clock.advance(1);
    isBroken = true;
    volumes = [];
    await clock.advance(5000);
    assert.equal(index.storage.counts.records, 3);
    assert.match(source.state.trouble, /control is away/);
    await assert.rejects(source.catchUp(), { code: 'UNAVAILABLE' });
    isBroken = false;
    await source.catchUp();
    assert.deepEqual([index.storage.counts.records, source.state.trouble], [0, '']);
  });
});
