import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { clientHello, decodeError } from '../../../../engine/protocol/index.ts';
import { type OutgoingRequest, payloadOf, type Reply } from '../../../../engine/transport/index.ts';
import { CLUSTER, TcpPair, until } from '../../../support/tcp-pair.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const META = Buffer.from('meta');
const code =
  (name: string) =>
  (err: unknown): boolean =>
    NabuError.is(err) && err.code === name;

describe('the bounds of the tcp transport', () => {
  const run = async (pair: TcpPair, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } finally {
      await pair[Symbol.asyncDispose]();
    }
    assert.equal(pair.serverSlab.slots, 0);
    assert.equal(pair.clientSlab.slots, 0);
  };
  const request = (pair: TcpPair, fields: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
    op: 2,
    meta: META,
    deadline: pair.deadline,
    mapEpoch: 0,
    ...fields,
  });

  it('let a client wait over its requests in flight, and refuse when too many wait', async () => {
    const pair = new TcpPair({ maxInFlight: 2, maxWaiting: 3 });
    await run(pair, async () => {
      const open: (() => void)[] = [];
      pair.handler = () => new Promise((resolve) => open.push(() => resolve({})));
      const connection = await pair.connect();
      const replies: Promise<Reply>[] = [];
      for (let i = 0; i < 5; i++) replies.push(connection.request(request(pair)));
      await assert.rejects(connection.request(request(pair)), code('QUEUE_FULL'));
      await until(() => open.length === 2);
      for (let i = 0; i < 5; i++) {
        await until(() => open.length > 0);
        assert(open.length <= 2);
        open.shift()?.();
      }
      await Promise.all(replies);
      connection.close();
    });
  });

  it('make a server stop reading when its memory is taken, and go on when there is room', async () => {
    const pair = new TcpPair({}, 2 * MIB);
    await run(pair, async () => {
      const open: (() => void)[] = [];
      pair.handler = ({ payload }) => {
        const first = Buffer.from(pair.serverSlab.buffer, payload?.offset, 1)[0] ?? 0;
        return new Promise((resolve) => open.push(() => resolve({ meta: Buffer.of(first) })));
      };
      const connection = await pair.connect();
      const slots = [1, 2, 3, 4, 5].map((fill) => {
        const slot = pair.clientSlab.alloc(900 * KIB);
        slot.bytes.fill(fill);
        return slot;
      });
      const replies = slots.map((slot) => connection.request(request(pair, { payload: payloadOf(slot) })));
      await until(() => open.length === 2 && pair.serverSlab.waiting === 1);
      for (let i = 0; i < 5; i++) {
        await until(() => open.length > 0);
        open.shift()?.();
      }
      const fills = await Promise.all(replies.map(async (reply) => (await reply).meta[0]));
      assert.deepEqual(fills, [1, 2, 3, 4, 5]);
      for (const slot of slots) slot.release();
      connection.close();
    });
  });

  it('answer RESOURCE_EXHAUSTED when no memory comes free in time, and keep the connection', async () => {
    const pair = new TcpPair({}, MIB);
    await run(pair, async () => {
      const hog = pair.serverSlab.alloc(MIB);
      const connection = await pair.connect();
      const slot = pair.clientSlab.alloc(512 * KIB);
      using deadline = pair.within(60_000);
      const reply = connection.request(request(pair, { payload: payloadOf(slot), deadline }));
      await until(() => pair.serverSlab.waiting === 1);
      const tooLarge = pair.clientSlab.alloc(3 * MIB);
      const refused = connection.request(request(pair, { payload: payloadOf(tooLarge) }));
      hog.release();
      assert.equal((await reply).status, 0);
      assert.equal(decodeError((await refused).meta).code, 'RESOURCE_EXHAUSTED');
      assert.equal((await connection.request(request(pair))).status, 0);
      slot.release();
      tooLarge.release();
      connection.close();
    });
  });

  it('make a server stop reading over its own limit, whatever the client thinks', async () => {
    const pair = new TcpPair();
    const strict = new TcpPair({ maxInFlight: 1 });
    try {
      const open: (() => void)[] = [];
      strict.handler = () => new Promise((resolve) => open.push(() => resolve({})));
      const { address } = await strict.listen();
      const connection = await pair.client.connect(address, clientHello(CLUSTER, '', 't'), { deadline: pair.deadline });
      const replies = [1, 2, 3].map(() => connection.request(request(pair)));
      for (let i = 0; i < 3; i++) {
        await until(() => open.length > 0);
        assert.equal(open.length, 1);
        open.shift()?.();
      }
      await Promise.all(replies);
      assert(strict.server.counters.holds >= 2);
      connection.close();
    } finally {
      await pair[Symbol.asyncDispose]();
      await strict[Symbol.asyncDispose]();
    }
  });

  it('refuse connections over the limit', async () => {
    const pair = new TcpPair({ maxConnections: 1 });
    await run(pair, async () => {
      const first = await pair.connect();
      await assert.rejects(pair.connect(), code('UNAVAILABLE'));
      first.close();
      await until(() => pair.listener?.connections === 0);
      (await pair.connect()).close();
    });
  });
});
