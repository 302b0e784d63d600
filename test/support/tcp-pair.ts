import { Deadline } from '../../common/concurrency/index.ts';
import { silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { clientHello, type HelloInfo } from '../../engine/protocol/index.ts';
import { Slab } from '../../engine/slab/index.ts';
import {
  type Connection,
  type Listener,
  type RequestHandler,
  type TcpLimits,
  TcpTransport,
} from '../../engine/transport/index.ts';

export const CLUSTER = 'ab'.repeat(16);
const MIB = 1024 * 1024;

export const serverHello: HelloInfo = {
  clusterId: CLUSTER,
  nodeId: 'node-1',
  deviceId: '0d'.repeat(16),
  incarnation: 7n,
  fencesComplete: true,
  label: 'node-1',
};

/** A server and clients of it over loopback, each side with a slab of its own; everything is closed with it. */
export class TcpPair implements AsyncDisposable {
  readonly serverSlab: Slab;
  readonly clientSlab = Slab.create({ sizeBytes: 32 * MIB, hugePages: 'no' });
  readonly server: TcpTransport;
  readonly client: TcpTransport;
  readonly deadline: Deadline;
  listener: Listener | undefined;
  handler: RequestHandler = async () => ({});
  served = 0;
  firstMapEpoch = -1;

  constructor(limits: Partial<TcpLimits> = {}, serverSlabBytes = 32 * MIB) {
    this.serverSlab = Slab.create({ sizeBytes: serverSlabBytes, hugePages: 'no' });
    const common = { clock: realClock, logger: silentLogger, limits };
    this.server = new TcpTransport({ slab: this.serverSlab, ...common });
    this.client = new TcpTransport({ slab: this.clientSlab, ...common });
    this.deadline = new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 600_000 });
  }

  async listen(): Promise<Listener> {
    const handle: RequestHandler = (request) => {
      if (this.served++ === 0) this.firstMapEpoch = request.mapEpoch;
      return this.handler(request);
    };
    this.listener = await this.server.listen({ host: '127.0.0.1', port: 0 }, handle, serverHello);
    return this.listener;
  }

  async connect(hello: HelloInfo = clientHello(CLUSTER, 'node-1', 'a test')): Promise<Connection> {
    const { address } = this.listener ?? (await this.listen());
    return await this.client.connect(address, hello, { deadline: this.deadline });
  }

  within(timeoutMs: number): Deadline {
    return new Deadline({ clock: realClock, operation: 'a request', timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener?.close();
    this.deadline[Symbol.dispose]();
  }
}

/** Lets the event loop turn until something is so; the test's own timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
