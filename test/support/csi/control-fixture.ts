import { join } from 'node:path';
import { GrpcServer } from '../../../common/grpc/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, realRandom } from '../../../common/ports/index.ts';
import { nodeId } from '../../../engine/blob/index.ts';
import { controlHandlers, Membership, SqliteStore, Volumes } from '../../../engine/control/index.ts';
import { services } from '../../../proto/gen/services.js';

const NODES = 6;
const GIB = 1 << 30;

/** The real control service in this process, on a map of six nodes that are not there: for tests that move no data. */
export class ControlFixture {
  readonly socketPath: string;
  readonly volumes: Volumes;
  readonly #server: GrpcServer;
  readonly #store: SqliteStore;

  private constructor(socketPath: string, volumes: Volumes, server: GrpcServer, store: SqliteStore) {
    this.socketPath = socketPath;
    this.volumes = volumes;
    this.#server = server;
    this.#store = store;
  }

  static async start(folder: string, socketPath: string, deviceBytes = 64 * GIB): Promise<ControlFixture> {
    const common = { logger: silentLogger, clock: realClock, random: realRandom };
    const store = new SqliteStore(join(folder, 'control.db'));
    const membership = await Membership.open(store, realRandom, silentLogger);
    for (let at = 0; at < NODES; at++) {
      const id = nodeId(`node-${at}`);
      await membership.register({
        id,
        address: { host: '127.0.0.1', port: 1 + at },
        domain: { zone: 'default', rack: 'default', host: id },
        weight: 1,
        capacityBytes: deviceBytes,
        clusterId: '',
      });
    }
    const map = () => membership.current();
    const reaper = { reap: async () => [] };
    const volumes = await Volumes.open({ ...common, store, map, reaper, defaultPolicy: 'ec:4+2' });
    const server = new GrpcServer({ logger: silentLogger });
    const service = controlHandlers({ membership, volumes, clock: realClock, version: '0.0.0' });
    server.add(services['nabustore.v1.Control'], service);
    await server.listen({ kind: 'unix', path: socketPath });
    return new ControlFixture(socketPath, volumes, server, store);
  }

  async sizeOf(id: string): Promise<bigint> {
    for (let after = ''; ; ) {
      const page = await this.volumes.list(after, 1000);
      const found = page.volumes.find(({ record }) => record.id === id);
      if (found !== undefined) return found.record.sizeBytes;
      if (page.next === '') throw new RangeError(`no volume ${id}`);
      after = page.next;
    }
  }

  async stop(): Promise<void> {
    await this.#server.close(0);
    await this.volumes.close();
    await this.#store.close();
  }
}
