import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../../../common/errors/index.ts';
import { parseMountInfo } from '../../../csi/node/mount-table.ts';
import { csi } from '../../../proto/gen/messages.js';
import { fails } from '../../support/csi/fails.ts';
import { PluginFixture } from '../../support/csi/plugin-fixture.ts';
import { block, LIMIT, MIB, Mode, mounted, VolumeLife } from '../../support/csi/volume-life.ts';

const { BYTES, INODES } = csi.v1.VolumeUsage.Unit;

function mountsBelow(folder: string): string[] {
  const mounts = parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1'));
  return mounts.map((mount) => mount.mountPoint).filter((path) => path.startsWith(folder));
}

describe('the CSI node service', () => {
  let fixture: PluginFixture;

  beforeEach(async () => {
    fixture = await PluginFixture.start();
  });

  afterEach(async () => {
    await fixture.destroy();
    assert.deepEqual(mountsBelow(fixture.folder), []);
  });

  for (const [fsType, sizeBytes] of [
    ['ext4', 64n * MIB],
    ['xfs', 320n * MIB],
  ] as const) {
    it(`brings an ${fsType} volume to a pod and back, and keeps its files`, async () => {
      const changes = { capacityRange: { requiredBytes: sizeBytes } };
      const life = await VolumeLife.create(fixture, mounted(fsType), changes);
      const target = await life.mount();
      await writeFile(join(target, 'kept'), 'bytes');
      await life.unpublish(target);
      assert.ok(!existsSync(target), 'the target is removed');
      await life.unstage();
      assert.deepEqual(fixture.host.openIds, []);
      await life.stage();
      await life.publish(target);
      assert.equal(await readFile(join(target, 'kept'), 'utf8'), 'bytes');
      await life.end(target);
    });
  }

  it('does everything twice as well as once, also at the same time', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = fixture.path('target');
    const often = (call: () => Promise<void>) => Promise.all(Array.from({ length: 8 }, call));
    await often(() => life.attach());
    await often(() => life.stage());
    await often(() => life.publish(target));
    assert.equal(mountsBelow(target).length, 1);
    assert.equal(mountsBelow(life.stagingPath).length, 1);
    await often(() => life.unpublish(target));
    await often(() => life.unstage());
    await often(() => life.detach());
    await often(() => life.delete());
    assert.deepEqual(fixture.host.openIds, []);
  });

  it('stages and unstages in some order when both are asked for at once', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    await Promise.all([life.stage(), life.unstage(), life.stage(), life.unstage()]);
    await life.unstage();
    assert.deepEqual(mountsBelow(life.stagingPath), []);
    assert.deepEqual(fixture.host.openIds, []);
  });

  it('shows a raw block volume as a device, of the size that was asked for', async () => {
    const life = await VolumeLife.create(fixture, block());
    const target = await life.mount();
    assert.ok(statSync(target).isBlockDevice());
    writeFileSync(target, 'raw', { flag: 'r+' });
    const stats = await fixture.node.nodeGetVolumeStats({ volumeId: life.id, volumePath: target }, LIMIT);
    assert.deepEqual(stats.usage, [{ unit: BYTES, total: 64n * MIB, available: 0n, used: 0n }]);
    assert.deepEqual(stats.volumeCondition, { abnormal: false, message: 'serving' });
    await life.end(target);
  });

  it('tells bytes, inodes and the condition of a mounted volume', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = await life.mount();
    const before = await fixture.node.nodeGetVolumeStats({ volumeId: life.id, volumePath: target }, LIMIT);
    await writeFile(join(target, 'file'), Buffer.alloc(4 << 20));
    fixture.host.state = 'waiting';
    const after = await fixture.node.nodeGetVolumeStats({ volumeId: life.id, volumePath: target }, LIMIT);
    const usage = (of: typeof after, unit: number) => of.usage.find((row) => row.unit === unit);
    const grown = (usage(after, BYTES)?.used ?? 0n) - (usage(before, BYTES)?.used ?? 0n);
    assert.ok(grown >= 4n * MIB, `${grown} bytes more`);
    assert.equal((usage(after, INODES)?.used ?? 0n) - (usage(before, INODES)?.used ?? 0n), 1n);
    assert.equal(before.volumeCondition?.abnormal, false);
    assert.equal(after.volumeCondition?.abnormal, true);
  });

  it('grows a mounted file system while it is in use', async () => {
    for (const [fsType, sizeBytes] of [
      ['ext4', 64n * MIB],
      ['xfs', 320n * MIB],
    ] as const) {
      const changes = { capacityRange: { requiredBytes: sizeBytes } };
      const life = await VolumeLife.create(fixture, mounted(fsType), changes);
      const target = await life.mount();
      const capacityRange = { requiredBytes: 2n * sizeBytes };
      const before = fsBytes(target);
      const place = { volumeId: life.id, volumePath: target, capacityRange };
      await fails(fixture.node.nodeExpandVolume(place, LIMIT), 'OUT_OF_RANGE'); // control does not know yet
      const grown = await fixture.controller.controllerExpandVolume({ volumeId: life.id, capacityRange }, LIMIT);
      assert.deepEqual(grown, { capacityBytes: 2n * sizeBytes, nodeExpansionRequired: true });
      if (fsType === 'ext4' && !hasSysResource()) {
        const refused = fixture.node.nodeExpandVolume(place, LIMIT);
        await assert.rejects(refused, (err: Error) => err.message.includes('CAP_SYS_RESOURCE'));
        await life.unpublish(target);
        await life.unstage();
        await life.stage(); // grows what is not mounted
        await life.publish(target);
      }
      for (let again = 0; again < 2; again++) {
        assert.equal((await fixture.node.nodeExpandVolume(place, LIMIT)).capacityBytes, 2n * sizeBytes);
      }
      assert.ok(fsBytes(target) > 1.8 * before, `${fsType} grew from ${before} to ${fsBytes(target)}`);
      await life.end(target);
    }
  });

  it('publishes read-only: files cannot be written, nor can a device', async () => {
    const files = await VolumeLife.create(fixture, mounted());
    const folder = await files.mount('read-only', true);
    assert.throws(() => writeFileSync(join(folder, 'x'), ''), { code: 'EROFS' });
    const raw = await VolumeLife.create(fixture, block());
    const device = await raw.mount('read-only', true);
    assert.throws(() => writeFileSync(device, 'x', { flag: 'r+' }));
    await fails(raw.publish(fixture.path('writable')), 'VOLUME_IN_USE');
    await raw.unpublish(device);
    await raw.publish(device);
    writeFileSync(device, 'x', { flag: 'r+' });
    await raw.end(device);
    await files.end(folder);
  });

  it('takes SINGLE_NODE_READER_ONLY and a read-only attachment as read-only', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.end(await life.mount()); // formatted, then gone
    const reader = await VolumeLife.create(fixture, mounted('ext4', Mode.SINGLE_NODE_READER_ONLY));
    await reader.attach();
    assert.equal(reader.publishContext.readOnly, 'true');
    await fails(reader.stage(), 'FAILED_PRECONDITION'); // blank: no file system can be made
    await reader.unstage();
    await reader.detach();
    const writer = await VolumeLife.create(fixture, mounted());
    const target = await writer.mount();
    await writer.unpublish(target);
    await writer.unstage();
    await writer.detach();
    await writer.attach(true);
    await writer.stage();
    await writer.publish(target);
    assert.throws(() => writeFileSync(join(target, 'x'), ''), { code: 'EROFS' });
    await writer.end(target);
  });

  it('lets one target have a SINGLE_NODE_SINGLE_WRITER volume, and several a SINGLE_NODE_MULTI_WRITER one', async () => {
    const single = await VolumeLife.create(fixture, mounted('ext4', Mode.SINGLE_NODE_SINGLE_WRITER));
    const target = await single.mount();
    await fails(single.publish(fixture.path('second')), 'VOLUME_IN_USE');
    await single.end(target);
    const many = await VolumeLife.create(fixture, mounted('ext4', Mode.SINGLE_NODE_MULTI_WRITER));
    const first = await many.mount();
    await many.publish(fixture.path('second'));
    await writeFile(join(first, 'shared'), 'x');
    assert.equal(await readFile(fixture.path('second/shared'), 'utf8'), 'x');
    await many.end(first, fixture.path('second'));
  });

  it('refuses what differs from how the volume is staged or published', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = await life.mount();
    await fails(life.stage({ volumeCapability: block() }), 'VOLUME_MOUNTED_DIFFERENT');
    await fails(life.stage({ volumeCapability: mounted('xfs') }), 'VOLUME_MOUNTED_DIFFERENT');
    const elsewhere = await fixture.makeFolder('elsewhere');
    await fails(life.stage({ stagingTargetPath: elsewhere }), 'VOLUME_IN_USE');
    await fails(life.publish(target, { readonly: true }), 'VOLUME_MOUNTED_DIFFERENT');
    await fails(life.publish(fixture.path('raw'), { volumeCapability: block() }), 'VOLUME_NOT_STAGED');
    await fails(life.unstage(), 'VOLUME_IN_USE');
    const other = await VolumeLife.create(fixture, mounted());
    await other.attach();
    await fails(other.stage({ stagingTargetPath: life.stagingPath }), 'PATH_UNUSABLE');
    await fails(other.unpublish(target), 'PATH_UNUSABLE');
    await life.end(target);
  });

  it('leaves a target alone that holds something', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    await life.stage();
    const target = await fixture.makeFolder('full');
    await writeFile(join(target, 'precious'), 'x');
    await fails(life.publish(target), 'PATH_UNUSABLE');
    await fails(life.unpublish(target), 'PATH_UNUSABLE');
    assert.equal(await readFile(join(target, 'precious'), 'utf8'), 'x');
    await life.end();
  });

  it('tells when a process still uses what is to be unpublished', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = await life.mount();
    const file = await open(join(target, 'busy'), 'w');
    await fails(life.unpublish(target), 'VOLUME_IN_USE');
    await file.close();
    await life.end(target);
  });

  it('finds everything again after it was stopped, whatever it had just done', async () => {
    const files = await VolumeLife.create(fixture, mounted());
    const raw = await VolumeLife.create(fixture, block());
    const folder = await files.mount();
    const device = await raw.mount();
    await writeFile(join(folder, 'before'), 'x');
    await fixture.stopPlugin();
    await writeFile(join(folder, 'while'), 'x'); // the mount does not need the plugin
    await fixture.startPlugin();
    await files.stage();
    await files.publish(folder);
    await raw.stage();
    await raw.publish(device);
    assert.equal(await readFile(join(folder, 'while'), 'utf8'), 'x');
    await files.end(folder);
    await raw.end(device);
  });

  it('unstages what its volume server lost', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    fixture.host.failNextOpen = NabuError.of('VOLUME_OPEN_BLOCKED', { volumeId: life.id, nodes: ['node-1', 'node-2'] });
    await assert.rejects(life.stage(), (err: Error) => err.message.includes('node-1, node-2'));
    await life.end();
  });

  it('takes down what is mounted from a device that lost its server, and only that', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = await life.mount();
    const device = fixture.host.lose(life.id);
    await fails(life.stage(), 'VOLUME_IN_USE');
    await life.unpublish(target);
    await life.unstage();
    execFileSync('losetup', ['-d', device]);
    assert.deepEqual(mountsBelow(fixture.folder), []);
    await life.stage(); // a new device
    await life.end();
  });

  it('does not take the device of another for its own when the number is used again', async () => {
    const old = await VolumeLife.create(fixture, mounted());
    await old.attach();
    await old.stage();
    execFileSync('umount', [old.stagingPath]);
    const device = fixture.host.lose(old.id);
    execFileSync('losetup', ['-d', device]);
    const other = await VolumeLife.create(fixture, mounted());
    const target = await other.mount();
    await old.unstage(); // its record names the same number
    await old.detach();
    await old.delete();
    assert.equal(mountsBelow(target).length, 1);
    await other.end(target);
  });

  it('names the nodes that a volume needs before its caller gives up, and opens it when they are back', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    fixture.host.missingNodes = ['node-3', 'node-5'];
    const { id: volumeId, publishContext, stagingPath: stagingTargetPath, capability: volumeCapability } = life;
    const request = { volumeId, publishContext, stagingTargetPath, volumeCapability };
    const blocked = fixture.node.nodeStageVolume(request, { timeoutMs: 1800 });
    await assert.rejects(
      blocked,
      (err: unknown) => NabuError.is(err, 'VOLUME_OPEN_BLOCKED') && /node-3, node-5/.test(err.message),
    );
    fixture.host.missingNodes = [];
    await life.stage();
    await life.end();
  });

  it('answers Probe with the truth: no without control or volume servers, and Identity all the same', async () => {
    const ready = async () => (await fixture.identity.probe({}, LIMIT)).ready?.value;
    assert.equal(await ready(), true);
    await fixture.host.stop();
    assert.equal(await ready(), false);
    assert.equal((await fixture.identity.getPluginInfo({}, LIMIT)).name, 'csi.nabustore.io');
    await fixture.host.start();
    await until(async () => (await ready()) === true);
  });
});

describe('orphans of the CSI node service', () => {
  let fixture: PluginFixture;

  beforeEach(async () => {
    fixture = await PluginFixture.start({ flags: { orphanIntervalMs: 100 } });
  });

  afterEach(async () => {
    await fixture.destroy();
  });

  it('unmounts and closes a volume that control has no more', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    const target = await life.mount();
    await life.detach(); // as if another orchestrator had forced it
    await life.delete();
    await until(async () => fixture.host.openIds.length === 0 && mountsBelow(target).length === 0);
    await until(async () => !existsSync(target));
  });

  it('closes a volume that is open for nobody, and keeps what is attached or mounted', async () => {
    const attached = await VolumeLife.create(fixture, mounted());
    await attached.attach();
    await attached.stage();
    const mountedOne = await VolumeLife.create(fixture, mounted());
    const target = await mountedOne.mount();
    await mountedOne.detach();
    const loose = await VolumeLife.create(fixture, block());
    await loose.attach();
    await loose.stage();
    await loose.detach();
    await until(async () => !fixture.host.openIds.includes(loose.id));
    assert.deepEqual(fixture.host.openIds.sort(), [attached.id, mountedOne.id].sort());
    await writeFile(join(target, 'x'), 'x');
    await mountedOne.end(target);
    await attached.end();
  });
});

/** Without CAP_SYS_RESOURCE the kernel does not grow a mounted ext4. */
function hasSysResource(): boolean {
  const [, effective = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n;
}

function fsBytes(path: string): number {
  const [blocks = '0', size = '0'] = execFileSync('stat', ['-f', '-c', '%b %S', path]).toString().trim().split(' ');
  return Number(blocks) * Number(size);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new RangeError('the state never came');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
