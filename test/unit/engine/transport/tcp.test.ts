import assert from 'node:assert/strict';
import { createServer, type Server, Socket } from 'node:net';
import { NabuError } from '../../../../common/errors/index.ts';
import { SeededRandom } from '../../../../common/ports/index.ts';
import { clientHello, decodeError } from '../../../../engine/protocol/index.ts';
import type { Slot } from '../../../../engine/slab/index.ts';
import { type OutgoingRequest, type PayloadRef, payloadOf } from '../../../../engine/transport/index.ts';
import { CLUSTER, serverHello, TcpPair, until } from '../../../support/tcp-pair.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const META = Buffer.from('meta');
const code =
  (name: string) =>
  (err: unknown): boolean =>
    NabuError.is(err) && err.code === name;

describe('the tcp transport', () => {
  let pair: TcpPair;
  const request = (fields: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
    op: 2,
    meta: META,
    deadline: pair.deadline,
    mapEpoch: 0,
    ...fields,
  });

  beforeEach(() => {
    pair = new TcpPair();
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
    assert.equal(pair.serverSlab.slots, 0, 'slots left on the server');
    assert.equal(pair.clientSlab.slots, 0, 'slots left on the client');
  });

  const filled = (lengthBytes: number, seed: number): Slot => {
    const slot = pair.clientSlab.alloc(lengthBytes);
    slot.bytes.set(new SeededRandom(seed).bytes(lengthBytes));
    return slot;
  };

  /** Answers with the payload it got. */
  const echo = async (incoming: { meta: Buffer; payload?: PayloadRef | undefined }) => {
    const { payload } = incoming;
    if (payload === undefined) return { meta: Buffer.from(incoming.meta) };
    const slot = pair.serverSlab.alloc(payload.length);
    Buffer.from(pair.serverSlab.buffer, payload.offset, payload.length).copy(slot.bytes);
    return { meta: Buffer.from(incoming.meta), payload: payloadOf(slot), mapEpoch: 9 };
  };

  it('introduces both sides to each other', async () => {
    let peer = '';
    pair.handler = async (incoming) => {
      peer = incoming.peer.label;
      return {};
    };
    const connection = await pair.connect();
    assert.deepEqual(connection.peer, serverHello);
    await connection.request(request());
    assert.equal(peer, 'a test');
    connection.close();
  });

  it('carries payloads of any length unchanged, in both directions, many at once', async () => {
    pair.handler = echo;
    const connection = await pair.connect();
    const lengths = [1, 47, 4095, 4096, 4097, 65536, 300_001, MIB, 3 * MIB];
    await Promise.all(
      lengths.map(async (length, seed) => {
        const sent = filled(length, seed);
        const got = pair.clientSlab.alloc(length);
        const meta = Buffer.alloc(length % 5000, seed);
        const reply = await connection.request(
          request({ meta, payload: payloadOf(sent), receive: () => payloadOf(got), mapEpoch: 3 }),
        );
        assert.equal(reply.status, 0);
        assert.equal(reply.mapEpoch, 9);
        assert.deepEqual(reply.meta, meta);
        assert.equal(reply.payload?.length, length);
        assert(sent.bytes.equals(got.bytes), `payload of ${length}`);
        sent.release();
        got.release();
      }),
    );
    assert.equal(pair.firstMapEpoch, 3);
    connection.close();
  });

  it('receives in place: payload on a block boundary of the slab, descriptor in the slab behind it', async () => {
    const seen: { buffer: unknown; offset: number }[] = [];
    pair.handler = async ({ meta, payload }) => {
      seen.push({ buffer: meta.buffer, offset: payload?.offset ?? -1 });
      return {};
    };
    const connection = await pair.connect();
    const slot = filled(10_000, 1);
    await connection.request(request({ payload: payloadOf(slot) }));
    slot.release();
    assert.equal(seen[0]?.buffer, pair.serverSlab.buffer);
    assert.equal((seen[0]?.offset ?? 1) % 4096, 0);
    connection.close();
  });

  it('answers in the order in which handlers finish, each to its own caller', async () => {
    const open: (() => void)[] = [];
    pair.handler = ({ meta }) => new Promise((resolve) => open.push(() => resolve({ meta: Buffer.from(meta) })));
    const connection = await pair.connect();
    const replies = Array.from({ length: 100 }, (_, i) => connection.request(request({ meta: Buffer.of(i) })));
    await until(() => open.length === 100);
    for (const answer of open.reverse()) answer();
    for (const [i, reply] of replies.entries()) assert.equal((await reply).meta[0], i);
    connection.close();
  });

  it('gives a handler the time that is left, and tells it when the caller gives up', async () => {
    let remainingMs = 0;
    let told: unknown;
    pair.handler = ({ deadline }) =>
      new Promise((resolve) => {
        remainingMs = deadline.remainingMs();
        deadline.signal.addEventListener('abort', () => {
          told = deadline.signal.reason;
          resolve({});
        });
      });
    const connection = await pair.connect();
    const caller = new AbortController();
    using deadline = pair.within(5_000);
    const reply = connection.request(request({ deadline, signal: caller.signal }));
    await until(() => remainingMs > 0);
    assert(remainingMs > 4_000 && remainingMs <= 5_000);
    caller.abort();
    await assert.rejects(reply, code('CANCELLED'));
    await until(() => told !== undefined);
    assert(NabuError.is(told, 'CANCELLED'));
    pair.handler = async () => ({});
    await connection.request(request()); // the connection goes on
    connection.close();
  });

  it('ends a request at its deadline on both sides', async () => {
    let told: unknown;
    let answer: (() => void) | undefined;
    pair.handler = ({ deadline }) =>
      new Promise((resolve) => {
        answer = () => resolve({});
        deadline.signal.addEventListener('abort', () => {
          told = deadline.signal.reason;
        });
      });
    const connection = await pair.connect();
    using deadline = pair.within(30);
    await assert.rejects(connection.request(request({ deadline })), code('TIMEOUT'));
    await until(() => told !== undefined);
    await assert.rejects(connection.request(request({ deadline })), code('TIMEOUT'));
    answer?.();
    connection.close();
  });

  it('throws away an answer that comes too late, payload and all', async () => {
    let answer: (() => void) | undefined;
    pair.handler = () =>
      new Promise((resolve) => {
        answer = () => resolve({ payload: payloadOf(pair.serverSlab.alloc(2 * MIB)) });
      });
    const connection = await pair.connect();
    const caller = new AbortController();
    const late = connection.request(request({ signal: caller.signal, receive: () => assert.fail('asked for memory') }));
    await until(() => answer !== undefined);
    caller.abort();
    await assert.rejects(late, code('CANCELLED'));
    answer?.();
    pair.handler = echo;
    assert.deepEqual((await connection.request(request())).meta, META);
    connection.close();
  });

  it('holds the slot of a request that was given up until its bytes have left', async () => {
    pair.handler = echo;
    const connection = await pair.connect();
    const gone = new AbortController();
    const slot = filled(16 * MIB, 3);
    const given = connection.request(
      request({ payload: payloadOf(slot), signal: gone.signal, receive: () => assert.fail() }),
    );
    gone.abort();
    slot.release();
    await assert.rejects(given, code('CANCELLED'));
    assert.equal(pair.clientSlab.slots, 1, 'no socket buffer takes 16 MiB: the rest is still to be sent');
    await until(() => pair.clientSlab.slots === 0);
    assert.deepEqual((await connection.request(request())).meta, META);
    connection.close();
  });

  it('settles a request whose bytes nobody holds only when they have left', async () => {
    pair.handler = async () => ({});
    const connection = await pair.connect();
    const gone = new AbortController();
    const slot = filled(16 * MIB, 4);
    const { offset, length } = payloadOf(slot);
    const given = connection.request(request({ payload: { offset, length }, signal: gone.signal }));
    let settled = false;
    const done = assert.rejects(given, code('CANCELLED')).then(() => {
      settled = true;
    });
    gone.abort();
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    assert.equal(settled, false, 'no socket buffer takes 16 MiB: the rest is still to be sent');
    await done;
    slot.release();
    await until(() => pair.served === 1);
    connection.close();
  });

  it("turns a handler's error into the same error at the caller", async () => {
    pair.handler = async () => {
      throw NabuError.of('DEVICE_FULL', { device: 'd' });
    };
    const connection = await pair.connect();
    const reply = await connection.request(request());
    assert.equal(reply.status, 1);
    assert.equal(decodeError(reply.meta).code, 'DEVICE_FULL');
    pair.handler = async () => {
      throw new TypeError('a secret path');
    };
    const foreign = decodeError((await connection.request(request())).meta);
    assert.equal(foreign.code, 'INTERNAL');
    assert.doesNotMatch(foreign.message, /secret/);
    connection.close();
  });

  it('refuses what is too large before sending it', async () => {
    const connection = await pair.connect();
    const tooMuch = connection.request(request({ meta: Buffer.alloc(MIB + 1) }));
    await assert.rejects(tooMuch, code('MESSAGE_TOO_LARGE'));
    pair.handler = async () => ({ meta: Buffer.alloc(MIB + 1) });
    assert.equal(decodeError((await connection.request(request())).meta).code, 'MESSAGE_TOO_LARGE');
    connection.close();
  });

  it('fails one request, not the connection, when its caller has no place for the answer', async () => {
    pair.handler = async () => ({ payload: payloadOf(pair.serverSlab.alloc(MIB)) });
    const connection = await pair.connect();
    await assert.rejects(connection.request(request()), code('PROTOCOL_ERROR'));
    const full = (): PayloadRef => {
      throw NabuError.of('RESOURCE_EXHAUSTED', { resource: 'test', reason: 'full' });
    };
    await assert.rejects(connection.request(request({ receive: full })), code('RESOURCE_EXHAUSTED'));
    const small = (): PayloadRef => ({ offset: 0, length: 10 });
    await assert.rejects(connection.request(request({ receive: small })), code('INVALID_ARGUMENT'));
    pair.handler = echo;
    assert.deepEqual((await connection.request(request())).meta, META);
    connection.close();
  });

  it('rejects all that is pending when the connection is gone', async () => {
    const stuck: (() => void)[] = [];
    pair.handler = () => new Promise((resolve) => stuck.push(() => resolve({})));
    const connection = await pair.connect();
    const replies = [1, 2, 3].map(() => connection.request(request()));
    const settled = Promise.allSettled(replies);
    await until(() => stuck.length === 3);
    const closing = pair.listener?.close();
    for (const result of await settled) assert(result.status === 'rejected' && code('UNAVAILABLE')(result.reason));
    assert(NabuError.is(await connection.closed, 'UNAVAILABLE'));
    for (const resolve of stuck) resolve();
    await closing;
    await assert.rejects(connection.request(request()), code('UNAVAILABLE'));
  });

  it('closes on request, with nothing to tell', async () => {
    const connection = await pair.connect();
    connection.close();
    assert.equal(await connection.closed, undefined);
    await assert.rejects(connection.request(request()), code('UNAVAILABLE'));
  });

  it('refuses a peer of another cluster, or that means another node', async () => {
    await assert.rejects(pair.connect(clientHello('cd'.repeat(16), '', 't')), code('PERMISSION_DENIED'));
    await assert.rejects(pair.connect(clientHello(CLUSTER, 'node-2', 't')), code('PERMISSION_DENIED'));
    (await pair.connect(clientHello(CLUSTER, '', 't'))).close();
    assert.equal(pair.server.counters.refused, 2);
  });

  it('says UNAVAILABLE when nobody listens, and TIMEOUT when nobody answers', async () => {
    const silent = await listening();
    try {
      using deadline = pair.within(50);
      const hello = clientHello(CLUSTER, '', 't');
      await assert.rejects(pair.client.connect(addressOf(silent), hello, { deadline }), code('TIMEOUT'));
      const { port } = addressOf(silent);
      await new Promise((resolve) => silent.close(resolve));
      const nobody = pair.client.connect({ host: '127.0.0.1', port }, hello, { deadline: pair.deadline });
      await assert.rejects(nobody, code('UNAVAILABLE'));
    } finally {
      silent.close();
    }
  });
});

describe('what the tcp transport relies on in Node', () => {
  it('a handle taken from an accepted socket works in a new socket with onread', async () => {
    const got: string[] = [];
    const server = createServer({ pauseOnConnect: true }, (accepted) => {
      const handle: unknown = Reflect.get(accepted, '_handle');
      assert(typeof handle === 'object' && handle !== null);
      Reflect.set(accepted, '_handle', null);
      accepted.destroy();
      const buffer = Buffer.alloc(4);
      const onread = {
        buffer: () => buffer.subarray(0, 4),
        callback: (count: number, bytes: Uint8Array): boolean => {
          got.push(Buffer.from(bytes.subarray(0, count)).toString());
          return true;
        },
      };
      const socket = Reflect.construct(Socket, [{ handle, onread }]) as Socket;
      socket.on('end', () => socket.end('bye'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = new Socket();
    const answer: Buffer[] = [];
    client.on('data', (chunk) => answer.push(chunk));
    client.connect(addressOf(server).port, '127.0.0.1', () => client.end('0123456789'));
    await new Promise((resolve) => client.once('close', resolve));
    assert.deepEqual(got, ['0123', '4567', '89']); // never more than the buffer that was named
    assert.equal(Buffer.concat(answer).toString(), 'bye');
    await new Promise((resolve) => server.close(resolve)); // closes: the emptied socket is counted as gone
  });
});

async function listening(): Promise<Server> {
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

function addressOf(server: Server): { host: string; port: number } {
  const bound = server.address();
  assert(typeof bound === 'object' && bound !== null);
  return { host: '127.0.0.1', port: bound.port };
}
