import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SocketAddress } from '../../../../common/grpc/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, realRandom } from '../../../../common/ports/index.ts';
import type { NodeId } from '../../../../engine/blob/index.ts';
import {
  ControlClient,
  ControlServer,
  SqliteStore,
  type VolumeReaper,
  type VolumeRecord,
} from '../../../../engine/control/index.ts';

export const GIB = 1024 ** 3;
export const CALL = { timeoutMs: 15_000 };

/** Confirms at once unless told that nodes are silent; remembers what it was asked. */
export class FakeReaper implements VolumeReaper {
  readonly reaped: string[] = [];
  silent: readonly NodeId[] = [];

  async reap(volume: VolumeRecord): Promise<readonly NodeId[]> {
    if (this.silent.length === 0) this.reaped.push(volume.id);
    return this.silent;
  }
}

export type ControlFixture = {
  readonly client: ControlClient;
  readonly server: ControlServer;
  readonly reaper: FakeReaper;
  readonly folder: string;
  /** Ends the server as a crash would leave its files, or in order, and starts another on them. */
  restart(): Promise<ControlFixture>;
  /** Six nodes of 100 GiB. */
  addNodes(count?: number): Promise<void>;
  close(): Promise<void>;
};

async function start(folder: string, reaper: FakeReaper): Promise<ControlFixture> {
  const server = await ControlServer.open({
    store: new SqliteStore(join(folder, 'control.db')),
    reaper: () => reaper,
    defaultPolicy: 'ec:4+2',
    version: 'test',
    clock: realClock,
    random: realRandom,
    logger: silentLogger,
  });
  const address: SocketAddress = await server.listen({ kind: 'unix', path: join(folder, 'control.sock') });
  const client = new ControlClient(address);
  const stop = async (): Promise<void> => {
    client.close();
    await server.close(200);
  };
  return {
    client,
    server,
    reaper,
    folder,
    restart: async () => {
      await stop();
      return await start(folder, reaper);
    },
    addNodes: async (count = 6) => {
      for (let at = 0; at < count; at++) await client.registerNode(sampleRegistration(`n${at}`, 7000 + at), CALL);
    },
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function sampleRegistration(nodeId: string, port: number): Parameters<ControlClient['registerNode']>[0] {
  return {
    nodeId,
    address: { host: '127.0.0.1', port },
    capacityBytes: 100 * GIB,
    deviceId: 'ab'.repeat(16),
    incarnation: 7,
  };
}

export async function startControl(): Promise<ControlFixture> {
  return await start(await mkdtemp(join(tmpdir(), 'nabu-control-')), new FakeReaper());
}
