import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { SeededRandom } from '../../../common/ports/index.ts';
import {
  clientHello,
  crc32c,
  encodeHeader,
  encodeHello,
  FRAME_KIND,
  FrameHeader,
  HEADER_BYTES,
  OP,
} from '../../../engine/protocol/index.ts';
import { payloadOf } from '../../../engine/transport/index.ts';
import { CLUSTER, TcpPair, until } from '../../support/tcp-pair.ts';

const MESSAGES = 100_000;
/** Sound requests before the garbage: what is behind a message that breaks the connection is never looked at. */
const MAX_SOUND = 3;
const PARALLEL = 24;

function frame(fields: Partial<FrameHeader>, meta: Uint8Array, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(HEADER_BYTES + meta.length + payload.length);
  const header = Object.assign(new FrameHeader(), fields);
  header.metaLength = meta.length;
  header.payloadLength = payload.length;
  header.metaCrc = meta.length === 0 ? 0 : crc32c(meta);
  encodeHeader(out, 0, header);
  out.set(meta, HEADER_BYTES);
  out.set(payload, HEADER_BYTES + meta.length);
  return out;
}

/** One message of the kinds that a hostile or broken peer may send. */
class Garbage {
  readonly #random: SeededRandom;
  #id = 1;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  below(limit: number): number {
    return this.#random.uint32() % limit;
  }

  valid(): Buffer {
    const meta = this.#random.bytes(this.below(300));
    const payload = this.below(4) === 0 ? this.#random.bytes(1 + this.below(9000)) : new Uint8Array(0);
    const op = 1 + this.below(20);
    return frame({ kind: FRAME_KIND.request, op, requestId: this.#id++, deadlineMs: 1000 }, meta, payload);
  }

  message(): Buffer {
    const good = this.valid();
    switch (this.below(7)) {
      case 0:
        return Buffer.from(this.#random.bytes(1 + this.below(500)));
      case 1: {
        const at = this.below(good.length);
        good[at] = (good[at] ?? 0) ^ (1 << this.below(8));
        return good;
      }
      case 2:
        return good.subarray(0, 1 + this.below(good.length));
      case 3: // lengths that are not true, under a right checksum
        good.writeUInt32LE(this.#random.uint32(), 20);
        good.writeUInt32LE(this.#random.uint32(), 24);
        good.writeUInt32LE(crc32c(good, 0, 44), 44);
        return good;
      case 4: // kinds that a client has no business to send, or that do not exist
        good[5] = this.below(256);
        good.writeUInt32LE(crc32c(good, 0, 44), 44);
        return good;
      case 5: // any field, sealed
        good[this.below(44)] = this.below(256);
        good.writeUInt32LE(crc32c(good, 0, 44), 44);
        return good;
      default: // the same id twice
        return Buffer.concat([good, good]);
    }
  }
}

describe('garbage on the transport port', () => {
  it(`of ${MESSAGES} messages closes its own connection and leaves the node and everybody else alone`, async function () {
    this.timeout(600_000);
    const pair = new TcpPair({ maxConnections: 200 });
    const seed = 20_261;
    const sockets = new Set<Socket>();
    try {
      pair.handler = async ({ meta }) => ({ meta: Buffer.from(meta.subarray(0, 8)) });
      const { address } = await pair.listen();
      const bystander = await pair.connect();
      const hello = encodeHello(clientHello(CLUSTER, '', 'fuzz'));
      const greeting = frame({ kind: FRAME_KIND.hello, op: OP.hello }, hello, new Uint8Array(0));
      let sent = 0;

      const abuse = (connectionSeed: number): Promise<void> =>
        new Promise((resolve) => {
          const garbage = new Garbage(new SeededRandom(connectionSeed));
          const socket = connect({ ...address });
          sockets.add(socket);
          socket.on('error', () => undefined); // a reset is what is wanted
          socket.resume();
          socket.once('close', () => {
            sockets.delete(socket);
            resolve();
          });
          socket.once('connect', () => {
            const chunks: Buffer[] = garbage.below(8) === 0 ? [] : [greeting];
            for (let i = garbage.below(MAX_SOUND); i > 0; i--) chunks.push(garbage.valid());
            chunks.push(garbage.message());
            sent++;
            socket.end(Buffer.concat(chunks));
          });
        });

      const before = process.memoryUsage().rss;
      let next = 0;
      await Promise.all(
        Array.from({ length: PARALLEL }, async () => {
          while (sent < MESSAGES) {
            await abuse(seed + next++);
            if (next % 64 !== 0) continue;
            const slot = pair.clientSlab.alloc(8192);
            const reply = await bystander.request({
              op: OP.ping,
              meta: Buffer.from('still here'),
              payload: payloadOf(slot),
              deadline: pair.deadline,
              mapEpoch: 0,
            });
            slot.release();
            assert.equal(reply.meta.toString(), 'still he');
          }
        }),
      );
      assert(sent >= MESSAGES);
      assert(pair.server.counters.broken > MESSAGES / 2, `${pair.server.counters.broken} connections broken off`);
      bystander.close();
      await until(() => pair.listener?.connections === 0);
      assert.equal(pair.serverSlab.slots, 0, 'memory of broken requests is back');
      const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20;
      assert(grownMiB < 256, `${grownMiB} MiB more`);
    } finally {
      for (const socket of sockets) socket.destroy();
      await pair[Symbol.asyncDispose]();
    }
  });
});
