import assert from 'node:assert/strict';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../../../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { SeededRandom } from '../../../common/ports/index.ts';
import { services } from '../../../proto/gen/services.js';
import { NODE_NAME } from '../../support/csi/plugin-fixture.ts';
import { PluginProcess } from '../../support/csi/plugin-process.ts';
import { block, MIB, mounted } from '../../support/csi/volume-life.ts';
import { skip } from '../../support/skip.ts';
import { TestCluster } from '../cluster.ts';

const CLIENTS = 10;
/** Of them, those that stage and publish what they make. */
const USERS = 4;
const KILLS = 50;
const LIMIT = { timeoutMs: 20_000 };
const START_MS = 20_000;
const SEED = Number(process.env.NABU_SEED ?? 20_251_121);
const SIZE = { requiredBytes: 16n * MIB };

type Client = {
  readonly grpc: GrpcClient;
  readonly controller: ClientOf<(typeof services)['csi.v1.Controller']>;
  readonly node: ClientOf<(typeof services)['csi.v1.Node']>;
};

function connect(endpoint: string): Client {
  const grpc = new GrpcClient({ address: { kind: 'unix', path: endpoint } });
  return {
    grpc,
    controller: grpc.service(services['csi.v1.Controller']),
    node: grpc.service(services['csi.v1.Node']),
  };
}

/** As an orchestrator does it: whatever broke on the way is asked for again, unchanged. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (err) {
      if (!NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT', 'CANCELLED', 'ABORTED')) throw err;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('the CSI plugin of a cluster, killed again and again', function () {
  this.timeout(5 * 60_000);
  let cluster: TestCluster;
  let plugin: PluginProcess;
  let clients: Client[] = [];

  before(async function () {
    const missing = await TestCluster.missing();
    if (missing !== '') skip(this, missing);
    // Small buffers: these volumes live for moments and hold next to nothing.
    const serverArguments = ['--ring-bytes', String(4n * MIB), '--read-cache-bytes', String(4n * MIB)];
    cluster = await TestCluster.start({ deviceSizeBytes: Number(256n * MIB), serverArguments });
    plugin = new PluginProcess(cluster.dir, NODE_NAME, ['--orphan-interval-ms', '500']);
    clients = Array.from({ length: CLIENTS }, () => connect(cluster.layout.csiSocket));
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`seed ${SEED}\n${await cluster.logs()}`);
  });

  after(async () => {
    for (const { grpc } of clients) grpc.close();
    await (plugin as PluginProcess | undefined)?.kill('SIGKILL');
    await (cluster as TestCluster | undefined)?.close();
  });

  it(`loses no volume and leaves none over ${KILLS} SIGKILLs at random points`, async () => {
    const random = new SeededRandom(SEED);
    const [first] = clients;
    assert.ok(first !== undefined);
    plugin.start();
    const stop = new AbortController();
    const workers = clients.map((client, at) => liveVolumes(client, at, stop.signal));
    const watched = Promise.all(workers);
    watched.catch(() => undefined); // reported below, when it is awaited
    try {
      for (let kills = 0; kills < KILLS; kills++) {
        await Promise.race([first.grpc.waitForReady(START_MS), watched]); // a worker that gave up ends this
        await new Promise((resolve) => setTimeout(resolve, random.float() * 120));
        await plugin.kill('SIGKILL');
        plugin.start();
      }
    } finally {
      stop.abort();
      await Promise.allSettled(workers);
    }
    const rounds = await watched;
    assert.ok(
      rounds.every((count) => count > 0),
      `rounds of the workers: ${rounds}`,
    );
    await checkNothingLostOrLeft(first);
  });

  /** Makes, uses and deletes volumes until stopped, each call until it succeeds; ends with exactly one volume left. */
  async function liveVolumes(client: Client, worker: number, signal: AbortSignal): Promise<number> {
    let rounds = 0;
    for (; !signal.aborted || rounds === 0; rounds++) {
      const volumeCapability = worker % 2 === 0 ? mounted() : block();
      const name = `worker-${worker}-round-${rounds}`;
      const creation = { name, capacityRange: SIZE, volumeCapabilities: [volumeCapability] };
      const { volume } = await persist(() => client.controller.createVolume(creation, LIMIT));
      const volumeId = volume?.volumeId ?? '';
      const repeated = await persist(() => client.controller.createVolume(creation, LIMIT));
      assert.equal(repeated.volume?.volumeId, volumeId, 'the volume of an acknowledged create was lost');
      if (worker < USERS) await useVolume(client, volumeId, volumeCapability);
      await persist(() => client.controller.deleteVolume({ volumeId }, LIMIT));
    }
    const kept = { name: `kept-${worker}`, capacityRange: SIZE, volumeCapabilities: [block()] };
    await persist(() => client.controller.createVolume(kept, LIMIT));
    return rounds;
  }

  async function useVolume(
    client: Client,
    volumeId: string,
    volumeCapability: ReturnType<typeof mounted>,
  ): Promise<void> {
    const stagingTargetPath = join(cluster.dir, `staging-${volumeId}`);
    const targetPath = join(cluster.dir, `target-${volumeId}`);
    await mkdir(stagingTargetPath);
    const attach = { volumeId, nodeId: NODE_NAME, volumeCapability };
    const { publishContext } = await persist(() => client.controller.controllerPublishVolume(attach, LIMIT));
    const place = { volumeId, publishContext, stagingTargetPath, volumeCapability };
    await persist(() => client.node.nodeStageVolume(place, LIMIT));
    await persist(() => client.node.nodePublishVolume({ ...place, targetPath }, LIMIT));
    await persist(() => client.node.nodeUnpublishVolume({ volumeId, targetPath }, LIMIT));
    await persist(() => client.node.nodeUnstageVolume({ volumeId, stagingTargetPath }, LIMIT));
    await persist(() => client.controller.controllerUnpublishVolume({ volumeId, nodeId: NODE_NAME }, LIMIT));
  }

  async function checkNothingLostOrLeft(client: Client): Promise<void> {
    const { entries } = await persist(() => client.controller.listVolumes({}, LIMIT));
    const listed = entries.map(({ volume }) => volume?.volumeId ?? '');
    const kept = await Promise.all(
      clients.map(async (_, worker) => (await cluster.control.getVolumeByName(`kept-${worker}`, LIMIT)).id),
    );
    assert.deepEqual(listed.sort(), kept.map(String).sort(), 'volumes that were lost, or are neither kept nor deleted');
    const { volumes } = await cluster.host.listVolumes({}, LIMIT);
    assert.deepEqual(volumes, [], 'a volume was left open');
    const keeper = cluster.keeper();
    assert.deepEqual(await keeper.list().finally(() => keeper.close()), [], 'a device was left');
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    assert.ok(!mounts.includes(cluster.dir), 'a mount was left');
    assert.deepEqual(await readdir(join(cluster.layout.csi, 'staged')), [], 'a record was left');
    const targets = (await readdir(cluster.dir)).filter((name) => name.startsWith('target-'));
    assert.deepEqual(targets, [], 'a target was left');
  }
});
