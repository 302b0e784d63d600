import assert from 'node:assert/strict';
import { nodeId } from '../../../../engine/blob/index.ts';
import type { ControlClient, Volume } from '../../../../engine/control/index.ts';
import { CALL, type ControlFixture, GIB, sampleRegistration, startControl } from './fixture.ts';

describe('control', () => {
  let control: ControlFixture;

  beforeEach(async () => {
    control = await startControl();
  });

  afterEach(async () => {
    await control.close();
  });

  const create = (name: string, more: Partial<Parameters<ControlClient['createVolume']>[0]> = {}): Promise<Volume> =>
    control.client.createVolume({ name, sizeBytes: GIB, ...more }, CALL);

  describe('membership', () => {
    it('gives each change of the map a new epoch and a repetition none', async () => {
      const first = await control.client.registerNode(sampleRegistration('n1', 7001), CALL);
      const again = await control.client.registerNode(sampleRegistration('n1', 7001), CALL);
      const moved = await control.client.registerNode(sampleRegistration('n1', 7002), CALL);
      assert.equal(again.map.epoch, first.map.epoch);
      assert.equal(moved.map.epoch, first.map.epoch + 1);
      assert.deepEqual(
        moved.map.nodes.map((node) => node.address.port),
        [7002],
      );
      assert.equal(moved.map.nodes[0]?.incarnation, '7');
    });

    it('keeps the map, its epoch and the cluster id over a restart', async () => {
      await control.addNodes();
      const before = await control.client.getMap(CALL);
      control = await control.restart();
      assert.deepEqual(await control.client.getMap(CALL), before);
      assert.equal(before.nodes.length, 6);
    });

    it('keeps the last report of each node of the map, with its age, and nothing that makes no sense', async () => {
      await control.addNodes(2);
      const [first, second] = (await control.client.getMap(CALL)).nodes.map(({ id }) => id);
      const report = { load: 0.5, roundTrips: [{ zone: 'a', rack: 'r', microseconds: 7 }], silentZones: ['b'] };
      await control.client.reportNode(first ?? '', { load: 0.1 }, CALL);
      await control.client.reportNode(first ?? '', report, CALL);
      const wrong = [
        { load: 1.1 },
        { load: Number.NaN },
        { load: 0, roundTrips: [{ zone: '', rack: 'r', microseconds: 7 }] },
        { load: 0, roundTrips: [{ zone: 'a', rack: 'r', microseconds: 0 }] },
        { load: 0, roundTrips: Array.from({ length: 513 }, () => ({ zone: 'a', rack: '', microseconds: 1 })) },
        { load: 0, silentZones: ['x'.repeat(254)] },
      ];
      for (const given of wrong)
        await assert.rejects(control.client.reportNode(second ?? '', given, CALL), { code: 'INVALID_ARGUMENT' });
      await assert.rejects(control.client.reportNode('stranger', report, CALL), { code: 'NODE_NOT_FOUND' });
      const kept = await control.client.listNodeReports(CALL);
      assert.deepEqual(
        kept.map(({ nodeId: id, report: told }) => [id, told]),
        [[first, report]],
      );
      assert((kept[0]?.ageMs ?? 99_999n) < 15_000n);
    });

    it('refuses a node of another cluster', async () => {
      const foreign = { ...sampleRegistration('n1', 7001), clusterId: 'f'.repeat(32) };
      await assert.rejects(control.client.registerNode(foreign, CALL), { code: 'DEVICE_FOREIGN' });
    });

    it('refuses ill-formed ids and addresses', async () => {
      for (const bad of ['', 'UPPER', 'a/b', 'x'.repeat(64), 'n\0']) {
        await assert.rejects(control.client.registerNode(sampleRegistration(bad, 7001), CALL), {
          code: 'INVALID_ARGUMENT',
        });
      }
      await assert.rejects(control.client.registerNode(sampleRegistration('n1', 0), CALL), {
        code: 'INVALID_ARGUMENT',
      });
      await assert.rejects(control.client.registerNode({ ...sampleRegistration('n1', 1), deviceId: 'zz' }, CALL), {
        code: 'INVALID_ARGUMENT',
      });
      assert.equal((await control.client.getMap(CALL)).nodes.length, 0);
    });

    it('sends the current map to a watcher at once and each later one after it', async () => {
      await control.addNodes(1);
      const stop = new AbortController();
      const maps = control.client.watchMap(0, stop.signal);
      const first = await maps.next();
      await control.client.registerNode(sampleRegistration('n9', 7009), CALL);
      const second = await maps.next();
      assert.deepEqual(
        first.value?.nodes.map((node: { id: string }) => node.id),
        ['n0'],
      );
      assert.deepEqual(
        second.value?.nodes.map((node: { id: string }) => node.id),
        ['n0', 'n9'],
      );
      stop.abort();
      await assert.rejects(maps.next());
    });

    it('takes a node that comes back up again, but leaves a draining one draining', async () => {
      await control.addNodes(2);
      await control.client.setNodeState('n0', 'down', CALL);
      await control.client.setNodeState('n1', 'draining', CALL);
      await control.addNodes(2);
      const map = await control.client.getMap(CALL);
      assert.deepEqual(
        map.nodes.map((node) => node.state),
        ['up', 'draining'],
      );
      await assert.rejects(control.client.setNodeState('n0', 'gone', CALL), { code: 'INVALID_ARGUMENT' });
      await assert.rejects(control.client.setNodeState('n7', 'up', CALL), { code: 'NODE_NOT_FOUND' });
    });

    it('says genesis until the first volume was created, also after that one is gone', async () => {
      assert.equal((await control.client.registerNode(sampleRegistration('n0', 7000), CALL)).genesis, true);
      await control.addNodes();
      const { id } = await create('first');
      await control.client.deleteVolume(id, CALL);
      control = await control.restart();
      assert.equal((await control.client.registerNode(sampleRegistration('n0', 7000), CALL)).genesis, false);
    });
  });

  it('does not say genesis to a node whose device was replaced, although no volume was created', async () => {
    const first = sampleRegistration('n0', 7000);
    assert.equal((await control.client.registerNode(first, CALL)).genesis, true);
    assert.equal((await control.client.registerNode(first, CALL)).genesis, true);
    for (let at = 0; at < 2; at++) {
      assert.equal((await control.client.registerNode({ ...first, incarnation: 8 }, CALL)).genesis, false);
      control = await control.restart();
    }
    const other = { ...first, deviceId: 'cd'.repeat(16) };
    assert.equal((await control.client.registerNode(other, CALL)).genesis, false);
  });

  describe('volumes', () => {
    beforeEach(async () => {
      await control.addNodes();
    });

    it('are created with a home set, and found again by id and by name after a restart', async () => {
      const volume = await create('one', { policy: 'replica:3', tier: 'fast', parameters: { fsType: 'xfs' } });
      control = await control.restart();
      assert.deepEqual(await control.client.getVolume(volume.id, CALL), volume);
      assert.deepEqual(await control.client.getVolumeByName('one', CALL), volume);
      assert.match(volume.id, /^[0-9a-f]{32}$/);
      assert.equal(volume.policy, 'replica:3');
      assert.equal(volume.homeSet.length, 6);
      assert.deepEqual(volume.parameters, { fsType: 'xfs' });
      assert.equal(volume.state, 'ready');
    });

    it('are one when 200 requests name 20 at once', async () => {
      const requests = Array.from({ length: 200 }, (_, at) => create(`v${at % 20}`));
      const ids = new Set((await Promise.all(requests)).map((volume) => volume.id));
      assert.equal(ids.size, 20);
      assert.equal((await control.client.health(CALL)).volumes, 20n);
    });

    it('are the same when asked for again with a size that the existing one meets, another one otherwise', async () => {
      const volume = await create('same', { sizeBytes: 2 * GIB });
      assert.equal((await create('same', { sizeBytes: GIB })).id, volume.id);
      assert.equal((await create('same', { sizeBytes: GIB, limitBytes: 3 * GIB })).id, volume.id);
      for (const [field, other] of Object.entries({
        sizeBytes: { sizeBytes: 3 * GIB },
        policy: { sizeBytes: 2 * GIB, policy: 'ec:2+1' },
        tier: { sizeBytes: 2 * GIB, tier: 'slow' },
        parameters: { sizeBytes: 2 * GIB, parameters: { a: 'b' } },
        failureDomain: { sizeBytes: 2 * GIB, failureDomain: 'zone' },
        provisioning: { sizeBytes: 2 * GIB, provisioning: 'thin' },
      })) {
        await assert.rejects(create('same', other), {
          code: 'VOLUME_EXISTS_DIFFERENT',
          fields: { name: 'same', field },
        });
      }
      await assert.rejects(create('same', { sizeBytes: GIB, limitBytes: GIB }), { code: 'VOLUME_EXISTS_DIFFERENT' });
    });

    it('are refused with a typed error that names the field, and nothing is left of them', async () => {
      const bad: [object, string][] = [
        [{ sizeBytes: 0 }, 'INVALID_ARGUMENT'],
        [{ sizeBytes: 2n ** 63n }, 'OUT_OF_RANGE'],
        [{ sizeBytes: 2n ** 64n - 1n }, 'OUT_OF_RANGE'],
        [{ sizeBytes: 4097, limitBytes: 5000 }, 'OUT_OF_RANGE'],
        [{ sizeBytes: 1n << 50n }, 'NO_SPACE'],
        [{ sizeBytes: 1n << 50n, provisioning: 'thin' }, 'NO_SPACE'],
        [{ policy: 'ec:9' }, 'POLICY_UNKNOWN'],
        [{ policy: 'ec:17+2' }, 'POLICY_UNKNOWN'],
        [{ policy: 'ec:4+0' }, 'POLICY_UNKNOWN'],
        [{ policy: 'ec:8+2' }, 'POLICY_TOO_WIDE'],
        [{ failureDomain: 'zone' }, 'POLICY_TOO_WIDE'],
        [{ failureDomain: 'galaxy' }, 'INVALID_ARGUMENT'],
        [{ provisioning: 'obese' }, 'INVALID_ARGUMENT'],
        [{ maxShardsPerDomain: 3 }, 'INVALID_ARGUMENT'],
        [{ tier: 'x'.repeat(64) }, 'INVALID_ARGUMENT'],
        [{ parameters: { big: 'x'.repeat(5000) } }, 'INVALID_ARGUMENT'],
      ];
      for (const [more, code] of bad) await assert.rejects(create('bad', more), { code }, JSON.stringify(code));
      for (const name of ['', 'x'.repeat(129), 'a\0b', '\u0001', '\u0085', 'é'.repeat(65)]) {
        await assert.rejects(create(name), { code: 'INVALID_ARGUMENT' });
      }
      assert.equal((await control.client.health(CALL)).volumes, 0n);
    });

    it('may have any name that CSI allows', async () => {
      for (const name of [
        'x'.repeat(128),
        '../../etc/passwd',
        'with spaces',
        'ü-日本-🙂',
        "';DROP TABLE resources;--",
        '.',
        '%00',
      ]) {
        const { id } = await create(name);
        assert.equal((await control.client.getVolumeByName(name, CALL)).id, id);
      }
    });

    it('have sizes in whole blocks', async () => {
      assert.equal((await create('odd', { sizeBytes: 4097 })).sizeBytes, 8192n);
    });

    it('reserve their space with parity while they exist, and no more than there is even when asked for at once', async () => {
      const before = await control.client.getCapacity('ec:4+2', CALL);
      assert.equal(before.rawBytes, BigInt(600 * GIB));
      assert.equal(before.availableBytes, BigInt(360 * GIB));
      const { id } = await create('big', { sizeBytes: 300 * GIB });
      assert.equal((await control.client.getCapacity('', CALL)).availableBytes, BigInt(60 * GIB));
      const outcomes = await Promise.allSettled(
        Array.from({ length: 5 }, (_, at) => create(`c${at}`, { sizeBytes: 40 * GIB })),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      control = await control.restart();
      assert.equal((await control.client.getCapacity('', CALL)).availableBytes, BigInt(20 * GIB));
      await control.client.deleteVolume(id, CALL);
      assert.equal((await control.client.getCapacity('', CALL)).availableBytes, BigInt(320 * GIB));
    });

    it('reserve nothing when thin', async () => {
      await create('thin', { sizeBytes: 300 * GIB, provisioning: 'thin' });
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, 0n);
    });

    it('have no capacity under a policy that is wider than the cluster', async () => {
      const capacity = await control.client.getCapacity('ec:8+2', CALL);
      assert.equal(capacity.availableBytes, 0n);
      assert.ok(capacity.rawBytes > 0n);
      await assert.rejects(control.client.getCapacity('raid5', CALL), { code: 'POLICY_UNKNOWN' });
    });

    it('are listed page by page, each once', async () => {
      const made = new Set<string>();
      for (let at = 0; at < 25; at++) made.add((await create(`v${at}`)).id);
      const seen: string[] = [];
      let pageToken = '';
      do {
        const page = await control.client.listVolumes({ pageToken, limit: 10 }, CALL);
        assert.ok(page.volumes.length <= 10);
        seen.push(...page.volumes.map((volume) => volume.id));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      assert.deepEqual(seen, [...made].sort());
      await assert.rejects(control.client.listVolumes({ pageToken: 'invalid' }, CALL), { code: 'ABORTED' });
      await assert.rejects(control.client.listVolumes({ limit: 1001 }, CALL), { code: 'OUT_OF_RANGE' });
    });

    it('grow, never shrink, and not beyond what is free', async () => {
      const { id } = await create('grow');
      assert.equal((await control.client.expandVolume(id, BigInt(5 * GIB), CALL)).sizeBytes, BigInt(5 * GIB));
      assert.equal((await control.client.expandVolume(id, BigInt(2 * GIB), CALL)).sizeBytes, BigInt(5 * GIB));
      await assert.rejects(control.client.expandVolume(id, BigInt(361 * GIB), CALL), { code: 'NO_SPACE' });
      await assert.rejects(control.client.expandVolume(id, 0n, CALL), { code: 'INVALID_ARGUMENT' });
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, BigInt(7.5 * GIB));
    });
  });

  describe('attaching', () => {
    let id: string;

    beforeEach(async () => {
      await control.addNodes();
      ({ id } = await create('v'));
    });

    const attach = (nodeName: string, readOnly = false): Promise<Volume> =>
      control.client.attachVolume({ id, nodeName, readOnly }, CALL);

    it('raises the generation once, whoever repeats the request', async () => {
      const first = await attach('a');
      const again = await Promise.all([attach('a'), attach('a'), attach('a')]);
      assert.equal(first.attachment?.generation, 1n);
      for (const volume of again) assert.equal(volume.attachment?.generation, 1n);
      control = await control.restart();
      assert.equal((await attach('a')).attachment?.generation, 1n);
    });

    it('raises it again after a detach, also for the same node', async () => {
      await attach('a');
      await control.client.detachVolume({ id, nodeName: 'a' }, CALL);
      assert.equal((await attach('a')).generation, 2n);
      await control.client.detachVolume({ id }, CALL);
      assert.equal((await attach('b')).attachment?.generation, 3n);
    });

    it('gives the volume to exactly one of many nodes that ask at once', async () => {
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, at) => attach(`node${at}`)));
      const given = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      assert.equal(given.length, 1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'VOLUME_ATTACHED_ELSEWHERE');
      }
      assert.equal((await control.client.getVolume(id, CALL)).generation, 1n);
    });

    it('is refused in another mode than the one it has', async () => {
      await attach('a', true);
      await assert.rejects(attach('a', false), { code: 'ALREADY_EXISTS' });
    });

    it('is not undone by a detach that names another node', async () => {
      await attach('a');
      await control.client.detachVolume({ id, nodeName: 'b' }, CALL);
      assert.equal((await control.client.getVolume(id, CALL)).attachment?.nodeName, 'a');
    });

    it('is refused for volumes that there are not', async () => {
      for (const wrong of ['0'.repeat(32), 'no-such-volume']) {
        const request = { id: wrong, nodeName: 'a' };
        await assert.rejects(control.client.attachVolume(request, CALL), { code: 'VOLUME_NOT_FOUND' });
        await assert.rejects(control.client.detachVolume(request, CALL), { code: 'VOLUME_NOT_FOUND' });
        await assert.rejects(control.client.getVolume(wrong, CALL), { code: 'VOLUME_NOT_FOUND' });
        await assert.rejects(control.client.expandVolume(wrong, 1n, CALL), { code: 'VOLUME_NOT_FOUND' });
      }
      await assert.rejects(control.client.getVolume('', CALL), { code: 'INVALID_ARGUMENT' });
    });

    it('shows what the volume server reports, but not from an older generation', async () => {
      await attach('a');
      await control.client.reportVolume(id, 1n, { state: 'serving', nodeName: 'a', logSequence: 42 }, CALL);
      await assert.rejects(control.client.reportVolume(id, 0n, { state: 'failed' }, CALL), { code: 'EPOCH_STALE' });
      const { report } = await control.client.getVolume(id, CALL);
      assert.equal(report?.state, 'serving');
      assert.equal(report?.logSequence, 42n);
    });
  });

  describe('deleting', () => {
    beforeEach(async () => {
      await control.addNodes();
    });

    /** A volume that may have a log on nodes: it was attached once. */
    const createUsed = async (name: string): Promise<Volume> => {
      const { id } = await create(name);
      await control.client.attachVolume({ id, nodeName: 'a' }, CALL);
      return await control.client.detachVolume({ id }, CALL);
    };

    const untilFreed = async (): Promise<void> => {
      while (control.server.volumes.deleting > 0) await new Promise((resolve) => setImmediate(resolve));
    };

    it('is idempotent, and refused while attached', async () => {
      const { id } = await create('v');
      await control.client.attachVolume({ id, nodeName: 'a' }, CALL);
      await assert.rejects(control.client.deleteVolume(id, CALL), { code: 'FAILED_PRECONDITION' });
      await control.client.detachVolume({ id }, CALL);
      assert.equal(await control.client.deleteVolume(id, CALL), true);
      assert.equal(await control.client.deleteVolume(id, CALL), false);
      assert.equal(await control.client.deleteVolume('never-was', CALL), false);
      await assert.rejects(control.client.getVolume(id, CALL), { code: 'VOLUME_NOT_FOUND' });
    });

    it('leaves tombstones on the home nodes of a volume that was attached, and frees its space after them', async () => {
      const volume = await createUsed('v');
      await control.client.deleteVolume(volume.id, CALL);
      await untilFreed();
      assert.deepEqual(control.reaper.reaped, [volume.id]);
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, 0n);
    });

    it('gives the name back at once although a node is silent, and goes on after a restart', async () => {
      const volume = await createUsed('v');
      control.reaper.silent = [nodeId('n3')];
      await control.client.deleteVolume(volume.id, CALL);
      const successor = await create('v');
      assert.notEqual(successor.id, volume.id);
      assert.equal((await control.client.listVolumes({}, CALL)).volumes.length, 1);
      assert.ok((await control.client.getCapacity('', CALL)).reservedBytes > BigInt(2 * GIB));
      control.reaper.silent = [];
      control = await control.restart();
      await untilFreed();
      assert.deepEqual(control.reaper.reaped, [volume.id]);
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, BigInt(1.5 * GIB));
    });

    it('needs no node for a volume that was never attached', async () => {
      control.reaper.silent = [nodeId('n3')];
      const { id } = await create('v');
      await control.client.deleteVolume(id, CALL);
      assert.equal(control.server.volumes.deleting, 0);
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, 0n);
    });

    it('survives creates and deletes of one name at once without losing count', async () => {
      await Promise.all(
        Array.from({ length: 40 }, async (_, at) => {
          const { id } = await create(`v${at % 4}`);
          await control.client.deleteVolume(id, CALL);
        }),
      );
      await untilFreed();
      const left = (await control.client.listVolumes({}, CALL)).volumes;
      for (const { id } of left) await control.client.deleteVolume(id, CALL);
      await untilFreed();
      assert.equal((await control.client.getCapacity('', CALL)).reservedBytes, 0n);
      assert.equal((await control.client.health(CALL)).volumes, 0n);
    });
  });
});
