import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { NabuError } from '../../../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { SeededRandom } from '../../../common/ports/index.ts';
import { services } from '../../../proto/gen/services.js';
import { NODE_NAME, PluginFixture } from '../../support/csi/plugin-fixture.ts';
import { PluginProcess } from '../../support/csi/plugin-process.ts';
import { block, MIB, mounted } from '../../support/csi/volume-life.ts';

const CLIENTS = 10;
const NAMES = 20;
const CALLS = 200;
const KILLS = 50;
const LIMIT = { timeoutMs: 20_000 };
const SEED = Number(process.env.NABU_SEED ?? 20_251_121);

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
async function persist<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (err) {
      if (!NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT', 'CANCELLED', 'ABORTED') || signal.aborted) throw err;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('many clients of the CSI plugin', () => {
  let fixture: PluginFixture;
  let clients: Client[];

  afterEach(async () => {
    for (const { grpc } of clients) grpc.close();
    await fixture.destroy();
  });

  it(`make ${NAMES} volumes of ${CALLS} concurrent CreateVolume with ${NAMES} names from ${CLIENTS} clients`, async () => {
    fixture = await PluginFixture.start();
    clients = Array.from({ length: CLIENTS }, () => connect(fixture.endpoint));
    const calls = Array.from({ length: CALLS }, async (_, at) => {
      const client = clients[at % CLIENTS];
      const name = `shared-${Math.floor(at / CLIENTS) % NAMES}`;
      const request = { name, capacityRange: { requiredBytes: 16n * MIB }, volumeCapabilities: [mounted()] };
      return [name, (await client?.controller.createVolume(request, LIMIT))?.volume?.volumeId ?? ''] as const;
    });
    const idsByName = new Map<string, Set<string>>();
    for (const [name, id] of await Promise.all(calls)) idsByName.set(name, (idsByName.get(name) ?? new Set()).add(id));
    assert.equal(idsByName.size, NAMES);
    for (const [name, ids] of idsByName) assert.equal(ids.size, 1, name);
    const { entries } = await fixture.controller.listVolumes({}, LIMIT);
    assert.equal(entries.length, NAMES);
    assert.equal(fixture.control.volumes.count, NAMES);
  });

  it(`lose no volume and leave none over ${KILLS} SIGKILLs of the plugin at random points`, async function () {
    this.timeout(4 * 60_000);
    const random = new SeededRandom(SEED);
    fixture = await PluginFixture.start({ withoutPlugin: true });
    const plugin = new PluginProcess(fixture.folder, NODE_NAME, ['--orphan-interval-ms', '500']);
    plugin.start();
    clients = Array.from({ length: CLIENTS }, () => connect(fixture.endpoint));
    const stop = new AbortController();
    try {
      const workers = clients.map((client, at) => liveVolumes(client, at, stop.signal));
      const watched = Promise.all(workers);
      watched.catch(() => undefined); // reported below, when it is awaited
      for (let kills = 0; kills < KILLS; kills++) {
        await fixture.client.waitForReady(20_000);
        await new Promise((resolve) => setTimeout(resolve, random.float() * 120));
        await plugin.kill('SIGKILL');
        plugin.start();
      }
      stop.abort();
      const rounds = await watched;
      assert.ok(
        rounds.every((count) => count > 0),
        `rounds of the workers: ${rounds}`,
      );
      await checkNothingLostOrLeft();
    } finally {
      stop.abort();
      await plugin.kill('SIGKILL');
    }
  });

  /** Makes, uses and deletes volumes until stopped, each call until it succeeds; ends with exactly one volume left. */
  async function liveVolumes(client: Client, worker: number, signal: AbortSignal): Promise<number> {
    const never = new AbortController().signal; // a round that was begun is ended
    const again = <T>(call: () => Promise<T>) => persist(call, never);
    let rounds = 0;
    for (; !signal.aborted || rounds === 0; rounds++) {
      const volumeCapability = worker % 2 === 0 ? mounted() : block();
      const name = `worker-${worker}-round-${rounds}`;
      const creation = { name, capacityRange: { requiredBytes: 16n * MIB }, volumeCapabilities: [volumeCapability] };
      const { volume } = await again(() => client.controller.createVolume(creation, LIMIT));
      const volumeId = volume?.volumeId ?? '';
      const repeated = await again(() => client.controller.createVolume(creation, LIMIT));
      assert.equal(repeated.volume?.volumeId, volumeId, 'the volume of an acknowledged create was lost');
      if (worker < 4) await useVolume(client, volumeId, volumeCapability, again);
      await again(() => client.controller.deleteVolume({ volumeId }, LIMIT));
    }
    const kept = { name: `kept-${worker}`, capacityRange: { requiredBytes: 16n * MIB }, volumeCapabilities: [block()] };
    await again(() => client.controller.createVolume(kept, LIMIT));
    return rounds;
  }

  async function useVolume(
    client: Client,
    volumeId: string,
    volumeCapability: ReturnType<typeof mounted>,
    again: <T>(call: () => Promise<T>) => Promise<T>,
  ): Promise<void> {
    const stagingTargetPath = fixture.path(`staging-${volumeId}`);
    const targetPath = fixture.path(`target-${volumeId}`);
    await mkdir(stagingTargetPath);
    const attach = { volumeId, nodeId: NODE_NAME, volumeCapability };
    const { publishContext } = await again(() => client.controller.controllerPublishVolume(attach, LIMIT));
    const place = { volumeId, publishContext, stagingTargetPath, volumeCapability };
    await again(() => client.node.nodeStageVolume(place, LIMIT));
    await again(() => client.node.nodePublishVolume({ ...place, targetPath }, LIMIT));
    await again(() => client.node.nodeUnpublishVolume({ volumeId, targetPath }, LIMIT));
    await again(() => client.node.nodeUnstageVolume({ volumeId, stagingTargetPath }, LIMIT));
    await again(() => client.controller.controllerUnpublishVolume({ volumeId, nodeId: NODE_NAME }, LIMIT));
  }

  async function checkNothingLostOrLeft(): Promise<void> {
    const { entries } = await persist(() => fixture.controller.listVolumes({}, LIMIT), new AbortController().signal);
    assert.equal(entries.length, CLIENTS, 'volumes that are neither kept nor deleted');
    for (let worker = 0; worker < CLIENTS; worker++) {
      const kept = await fixture.control.volumes.getByName(`kept-${worker}`);
      assert.ok(
        entries.some(({ volume }) => volume?.volumeId === kept.record.id),
        `kept-${worker} was lost`,
      );
    }
    assert.deepEqual(fixture.host.openIds, [], 'a device was left open');
    assert.deepEqual(await readdir(fixture.path('csi/staged')), [], 'a record was left');
    const targets = (await readdir(fixture.folder)).filter((name) => name.startsWith('target-'));
    assert.deepEqual(targets, [], 'a target was left');
  }
});
