import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { decodeMessage, encodeMessage } from '../../../../common/grpc/index.ts';
import { realClock, SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import {
  FrameReader,
  type MuxConnection,
  TtrpcClient,
  type TtrpcHandler,
  TtrpcServer,
} from '../../../../device-plugin/nri/index.ts';
import type { ttrpc } from '../../../../proto/gen/messages.js';
import { services } from '../../../../proto/gen/nri.js';

const FRAMES = services['ttrpc.Frames'].call;
const REGISTER = services['nri.pkg.api.v1alpha1.Runtime'].registerPlugin;

function frame(payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(7, 0);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function reader(onFrame: (payload: Buffer) => void, maxPayloadBytes = 1000): FrameReader {
  return new FrameReader({
    peer: 'the test',
    headerBytes: 8,
    payloadBytes: (header) => header.readUInt32BE(4),
    maxPayloadBytes,
    onFrame: (header, payload) => {
      assert.equal(header.readUInt32BE(0), 7);
      onFrame(payload);
    },
  });
}

/** A message of ttrpc, as its specification lays it out. */
function message(streamId: number, type: number, payload: Uint8Array, flags = 0): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(streamId, 4);
  header[8] = type;
  header[9] = flags;
  return Buffer.concat([header, payload]);
}

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 });
    const cuts = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(payloads, cuts, (sent, sizes) => {
        const bytes = Buffer.concat(sent.map((payload) => frame(Buffer.from(payload))));
        const got: Buffer[] = [];
        const frames = reader((payload) => got.push(payload));
        for (let at = 0, cut = 0; at < bytes.length; cut++) {
          const size = sizes[cut % sizes.length] ?? 1;
          frames.push(bytes.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(
          got.map((payload) => [...payload]),
          sent.map((payload) => [...payload]),
        );
      }),
    );
  });

  it('may be empty, and as long as allowed, not longer', () => {
    const got: number[] = [];
    const frames = reader((payload) => got.push(payload.length));
    frames.push(Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(1000)), frame(Buffer.alloc(0))]));
    assert.deepEqual(got, [0, 1000, 0]);
    assert.throws(() => frames.push(frame(Buffer.alloc(1001))), { code: 'PROTOCOL_ERROR', message: /1001 bytes/ });
  });

  it('are not shared with the bytes that they came in', () => {
    const got: Buffer[] = [];
    const bytes = frame(Buffer.from('abc'));
    reader((payload) => got.push(payload)).push(bytes);
    bytes.fill(0);
    assert.deepEqual(got, [Buffer.from('abc')]);
  });
});

type Wired = { readonly push: (bytes: Buffer) => void; readonly sent: ttrpc.Response[]; readonly streams: number[] };

function served(handlers: Readonly<Record<string, TtrpcHandler>>, clock = realClock): Wired & { server: TtrpcServer } {
  let push: (bytes: Buffer) => void = () => assert.fail('not open');
  const sent: ttrpc.Response[] = [];
  const streams: number[] = [];
  const connection: MuxConnection = {
    send(bytes) {
      assert.equal(bytes.readUInt32BE(0), bytes.length - 10);
      assert.deepEqual([bytes[8], bytes[9]], [2, 0]);
      streams.push(bytes.readUInt32BE(4));
      sent.push(decodeMessage(FRAMES.response, bytes.subarray(10)) as ttrpc.Response);
    },
  };
  const server = new TtrpcServer({
    open(onBytes) {
      push = onBytes;
      return connection;
    },
    peer: 'the test',
    clock,
    handlers: new Map(Object.entries(handlers)),
    timeoutMs: 1000,
  });
  return { server, sent, streams, push: (bytes) => push(bytes) };
}

const request = (method: string, timeoutMs = 0): Buffer =>
  encodeMessage(FRAMES.request, {
    service: 'a.B',
    method,
    payload: Buffer.from(method),
    timeoutNano: BigInt(timeoutMs) * 1_000_000n,
  });
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a server of ttrpc', () => {
  it('answers on the stream of the request, also where a later one is done first', async () => {
    const slow = Promise.withResolvers<Uint8Array>();
    const { push, sent, streams } = served({ '/a.B/Slow': () => slow.promise, '/a.B/Fast': (payload) => payload });
    push(Buffer.concat([message(1, 1, request('Slow')), message(3, 1, request('Fast'))]));
    await settled();
    assert.deepEqual(streams, [3]);
    slow.resolve(Buffer.from('done'));
    await settled();
    assert.deepEqual(streams, [3, 1]);
    assert.deepEqual(
      sent.map(({ status, payload }) => [status?.code, Buffer.from(payload).toString()]),
      [
        [0, 'Fast'],
        [0, 'done'],
      ],
    );
  });

  it('answers what it does not know, what fails and what takes too long with a status, and tells no more than that', async () => {
    const clock = new SimClock();
    const { push, sent, streams } = served(
      {
        '/a.B/Bug': () => {
          throw new TypeError('secret detail');
        },
        '/a.B/Refuses': () => Promise.reject(NabuError.of('INVALID_ARGUMENT', { field: 'x', reason: 'no' })),
        '/a.B/Hangs': () => new Promise(() => undefined),
      },
      clock,
    );
    for (const [at, method] of ['None', 'Bug', 'Refuses', 'Hangs'].entries()) {
      push(message(2 * at + 1, 1, request(method, 500)));
    }
    await clock.advance(499);
    assert.deepEqual(streams, [1, 3, 5]);
    await clock.advance(1);
    assert.deepEqual(streams, [1, 3, 5, 7]);
    assert.deepEqual(
      sent.map(({ status }) => [status?.code, status?.message]),
      [
        [12, '/a.B/None is not supported: there is no such method'],
        [13, 'internal error'],
        [3, 'x: no'],
        [4, '/a.B/Hangs did not finish within 500 ms'],
      ],
    );
    assert.equal(clock.pendingTimers, 0);
  });

  it('ends the connection over a caller that breaks the protocol, with no status that would refuse a container', () => {
    const broken: Readonly<Record<string, Buffer>> = {
      'an even stream': message(2, 1, request('Fast')),
      'a request that is none': message(1, 1, Buffer.from([0x0a, 0xff])),
      'a request that opens a stream': message(1, 1, request('Fast'), 2),
      'a message longer than allowed': message(1, 1, Buffer.alloc(0)).fill(0xff, 0, 4),
    };
    for (const [what, bytes] of Object.entries(broken)) {
      const { push, sent } = served({ '/a.B/Fast': (payload) => payload });
      assert.throws(() => push(bytes), { code: 'PROTOCOL_ERROR' }, what);
      assert.deepEqual(sent, []);
    }
    const { push } = served({ '/a.B/Fast': (payload) => payload });
    push(message(3, 1, request('Fast')));
    assert.throws(() => push(message(3, 1, request('Fast'))), { code: 'PROTOCOL_ERROR' });
  });

  it('passes over what later versions may send', async () => {
    const { push, streams } = served({ '/a.B/Fast': (payload) => payload });
    push(
      Buffer.concat([message(9, 3, Buffer.alloc(5)), message(2, 77, Buffer.alloc(0)), message(1, 1, request('Fast'))]),
    );
    await settled();
    assert.deepEqual(streams, [1]);
  });

  it('takes no more calls at once than it has room for', () => {
    const { push } = served({ '/a.B/Hangs': () => new Promise(() => undefined) }, new SimClock());
    for (let at = 0; at < 64; at++) push(message(2 * at + 1, 1, request('Hangs')));
    assert.throws(() => push(message(129, 1, request('Hangs'))), { code: 'PROTOCOL_ERROR', message: /more than 64/ });
  });

  it('answers nothing any more once it is closed', async () => {
    const slow = Promise.withResolvers<Uint8Array>();
    const { push, sent, server } = served({ '/a.B/Slow': () => slow.promise });
    push(message(1, 1, request('Slow')));
    server.close();
    slow.resolve(Buffer.alloc(0));
    await settled();
    assert.deepEqual(sent, []);
  });

  it('meets 2,000 seeded streams of garbage with typed errors or silence, whole or cut', async () => {
    const random = new SeededRandom(41);
    const valid = Buffer.concat([message(1, 1, request('Fast')), message(3, 1, request('None'))]);
    for (let round = 0; round < 2000; round++) {
      const { push } = served({ '/a.B/Fast': (payload) => payload });
      const garbage = Buffer.from(random.float() < 0.5 ? random.bytes(1 + (random.uint32() % 300)) : valid);
      for (let flips = random.uint32() % 6; flips > 0; flips--) {
        garbage[random.uint32() % garbage.length] = random.uint32() & 0xff;
      }
      const cut = random.uint32() % garbage.length;
      try {
        push(garbage.subarray(0, cut));
        push(garbage.subarray(cut));
      } catch (err) {
        assert.ok(NabuError.is(err, 'PROTOCOL_ERROR'), String(err));
      }
    }
    await settled();
  });
});

describe('a client of ttrpc', () => {
  let push: (bytes: Buffer) => void = () => undefined;
  let sent: Buffer[] = [];
  let client: TtrpcClient;

  beforeEach(() => {
    sent = [];
    const open = (onBytes: (bytes: Buffer) => void): MuxConnection => {
      push = onBytes;
      return { send: (bytes) => sent.push(bytes) };
    };
    client = new TtrpcClient(open, 'the test');
  });

  const register = async (timeoutMs = 5000): Promise<unknown> => {
    using deadline = new Deadline({ clock: realClock, operation: 'register', timeoutMs });
    return await client.call(REGISTER, { pluginName: 'a', pluginIdx: '10' }, deadline);
  };
  const answer = (streamId: number, response: object): void =>
    push(message(streamId, 2, encodeMessage(FRAMES.response, response)));

  it('uses odd streams that rise, says its deadline, and finds the answers in any order', async () => {
    const first = register();
    const second = register();
    await settled();
    answer(3, { status: { code: 3, message: 'bad index' } });
    answer(1, {});
    assert.deepEqual(await first, {});
    await assert.rejects(second, { code: 'PROTOCOL_ERROR', message: /status 3: bad index/ });
    assert.deepEqual(
      sent.map((bytes) => bytes.readUInt32BE(4)),
      [1, 3],
    );
    const asked = decodeMessage(FRAMES.request, (sent[0] ?? Buffer.alloc(10)).subarray(10)) as ttrpc.Request;
    assert.equal(asked.service, 'nri.pkg.api.v1alpha1.Runtime');
    assert.equal(asked.method, 'RegisterPlugin');
    assert.ok(asked.timeoutNano > 0n && asked.timeoutNano <= 5_000_000_000n);
  });

  it('ends calls at their deadline, and drops answers that come later or belong to nobody', async () => {
    await assert.rejects(register(10), { code: 'TIMEOUT' });
    answer(1, {});
    answer(99, {});
    push(message(1, 3, Buffer.alloc(0)));
    const next = register();
    await settled();
    answer(3, {});
    assert.deepEqual(await next, {});
  });

  it('ends calls over an answer that is none, and over the loss of the connection', async () => {
    const first = register();
    await settled();
    push(message(1, 2, Buffer.from([0x0a, 0xff])));
    await assert.rejects(first, { code: 'PROTOCOL_ERROR' });
    const second = register();
    await settled();
    client.fail(NabuError.of('UNAVAILABLE', { target: 'it', reason: 'gone' }));
    await assert.rejects(second, { code: 'UNAVAILABLE' });
  });
});
