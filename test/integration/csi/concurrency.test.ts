import assert from 'node:assert/strict';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { services } from '../../../proto/gen/services.js';
import { PluginFixture } from '../../support/csi/plugin-fixture.ts';
import { MIB, mounted } from '../../support/csi/volume-life.ts';

const CLIENTS = 10;
const NAMES = 20;
const CALLS = 200;
const LIMIT = { timeoutMs: 20_000 };

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
});
