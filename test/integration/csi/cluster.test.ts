import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedProcesses } from '../../../cli/detached.ts';
import { Deadline } from '../../../common/concurrency/index.ts';
import { NabuError } from '../../../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { services } from '../../../proto/gen/services.js';
import { block, type Capability, MIB, mounted } from '../../support/csi/volume-life.ts';
import { CommandLineCluster, dropCaches } from '../cli/local-cluster.ts';

const LIMIT = { timeoutMs: 120_000 };
const FILE_BYTES = 24 << 20;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('volumes of a cluster over CSI', () => {
  let cluster: CommandLineCluster;
  let grpc: GrpcClient;
  let controller: ClientOf<(typeof services)['csi.v1.Controller']>;
  let node: ClientOf<(typeof services)['csi.v1.Node']>;
  let nodeId: string;

  before(async () => {
    cluster = await CommandLineCluster.make();
    await cluster.up();
    grpc = new GrpcClient({ address: { kind: 'unix', path: layoutOf(cluster.dir).csiSocket } });
    controller = grpc.service(services['csi.v1.Controller']);
    node = grpc.service(services['csi.v1.Node']);
    nodeId = (await node.nodeGetInfo({}, LIMIT)).nodeId;
  });

  after(async () => {
    (grpc as GrpcClient | undefined)?.close();
    await (cluster as CommandLineCluster | undefined)?.remove();
  });

  /** A volume from CreateVolume to a published target, and the calls that take it back. */
  async function bring(name: string, volumeCapability: Capability, sizeBytes: bigint, parameters = {}) {
    const request = { name, capacityRange: { requiredBytes: sizeBytes }, volumeCapabilities: [volumeCapability] };
    const { volume } = await controller.createVolume({ ...request, parameters }, LIMIT);
    const volumeId = volume?.volumeId ?? '';
    const attach = { volumeId, nodeId, volumeCapability };
    const { publishContext } = await controller.controllerPublishVolume(attach, LIMIT);
    const stagingTargetPath = join(cluster.dir, `staging-${name}`);
    const targetPath = join(cluster.dir, `target-${name}`);
    await mkdir(stagingTargetPath);
    const volumeContext = volume?.volumeContext ?? {};
    const place = { volumeId, publishContext, volumeContext, stagingTargetPath, volumeCapability };
    const stage = async (limit = LIMIT): Promise<void> => {
      await node.nodeStageVolume(place, limit);
      await node.nodePublishVolume({ ...place, targetPath }, limit);
    };
    const unstage = async (): Promise<void> => {
      await node.nodeUnpublishVolume({ volumeId, targetPath }, LIMIT);
      await node.nodeUnstageVolume({ volumeId, stagingTargetPath }, LIMIT);
    };
    const end = async (): Promise<void> => {
      await unstage();
      await controller.controllerUnpublishVolume({ volumeId, nodeId }, LIMIT);
      await controller.deleteVolume({ volumeId }, LIMIT);
    };
    await stage();
    return { volumeId, targetPath, stage, unstage, end };
  }

  for (const [fsType, policy, sizeBytes] of [
    ['ext4', 'ec:4+2', 128n * MIB],
    ['xfs', 'replica:3', 320n * MIB],
  ] as const) {
    it(`keep the files of ${fsType} under ${policy} over unstaging, staging and growth`, async () => {
      const life = await bring(`files-${fsType}`, mounted(fsType), sizeBytes, { policy, mountOptions: 'noatime' });
      const bytes = randomBytes(FILE_BYTES);
      const path = join(life.targetPath, 'model.bin');
      await writeFile(path, bytes, { flush: true });
      await dropCaches();
      assert.equal(sha256(await readFile(path)), sha256(bytes));
      await life.unstage();
      await controller.controllerExpandVolume(
        { volumeId: life.volumeId, capacityRange: { requiredBytes: 2n * sizeBytes } },
        LIMIT,
      );
      await life.stage();
      const grown = await node.nodeExpandVolume({ volumeId: life.volumeId, volumePath: life.targetPath }, LIMIT);
      assert.equal(grown.capacityBytes, 2n * sizeBytes);
      const stats = await node.nodeGetVolumeStats({ volumeId: life.volumeId, volumePath: life.targetPath }, LIMIT);
      assert.ok((stats.usage[0]?.total ?? 0n) > (sizeBytes * 3n) / 2n, `${stats.usage[0]?.total} bytes`);
      assert.equal(stats.volumeCondition?.abnormal, false, stats.volumeCondition?.message);
      assert.equal(sha256(await readFile(path)), sha256(bytes));
      await life.end();
      assert.ok(!existsSync(life.targetPath));
    });
  }

  it('are told of a node by its zone alone, so that the provisioner publishes one capacity per zone', async () => {
    const { accessibleTopology } = await node.nodeGetInfo({}, LIMIT);
    assert.deepEqual(Object.keys(accessibleTopology?.segments ?? {}), ['topology.nabustore.io/zone']);
  });

  it('keep the bytes of a raw block volume, and grow under its user', async () => {
    const life = await bring('raw', block(), 64n * MIB, { policy: 'ec:2+1' });
    const bytes = randomBytes(4 << 20);
    const device = await open(life.targetPath, 'r+');
    await device.write(bytes, 0, bytes.length, 8 << 20);
    await device.sync();
    const capacityRange = { requiredBytes: 96n * MIB };
    await controller.controllerExpandVolume({ volumeId: life.volumeId, capacityRange }, LIMIT);
    await node.nodeExpandVolume({ volumeId: life.volumeId, volumePath: life.targetPath, capacityRange }, LIMIT);
    await device.write(bytes, 0, bytes.length, 90 << 20); // behind the old end
    await device.sync();
    await device.close();
    await life.unstage();
    await life.stage();
    const again = await open(life.targetPath, 'r');
    for (const offset of [8 << 20, 90 << 20]) {
      const read = Buffer.alloc(bytes.length);
      await again.read(read, 0, read.length, offset);
      assert.equal(sha256(read), sha256(bytes), `at ${offset}`);
    }
    await again.close();
    await life.end();
  });

  it('are not opened while four of six nodes are dead, say whom they need, and open when these are back', async () => {
    const life = await bring('blocked', mounted(), 64n * MIB);
    const bytes = randomBytes(1 << 20);
    await writeFile(join(life.targetPath, 'file'), bytes, { flush: true });
    await life.unstage();
    const dead = ['node-1', 'node-2', 'node-3', 'node-4'];
    for (const name of dead) await cluster.json('node', 'kill', name);
    await assert.rejects(life.stage({ timeoutMs: 10_000 }), (err: unknown) => {
      assert.ok(NabuError.is(err, 'VOLUME_OPEN_BLOCKED'), String(err));
      assert.ok(
        dead.some((name) => err.message.includes(name)),
        err.message,
      );
      return true;
    });
    for (const name of dead) await cluster.json('node', 'start', name);
    await life.stage();
    assert.equal(sha256(await readFile(join(life.targetPath, 'file'))), sha256(bytes));
    await life.end();
  });

  it('do not notice that the plugin is killed, and are found by the next one', async () => {
    const life = await bring('survivor', mounted(), 64n * MIB);
    const layout = layoutOf(cluster.dir);
    const processes = new DetachedProcesses(layout, realClock);
    using deadline = new Deadline({ clock: realClock, operation: 'restarting the plugin', timeoutMs: 60_000 });
    await processes.stop('csi', 'SIGKILL', deadline);
    const bytes = randomBytes(1 << 20);
    await writeFile(join(life.targetPath, 'while-it-is-dead'), bytes, { flush: true });
    await cluster.up();
    assert.equal(sha256(await readFile(join(life.targetPath, 'while-it-is-dead'))), sha256(bytes));
    await life.stage(); // a repetition
    await life.end();
  });
});
