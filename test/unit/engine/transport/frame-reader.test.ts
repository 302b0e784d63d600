import assert from 'node:assert/strict';
import { SeededRandom } from '../../../../common/ports/index.ts';
import { crc32c, encodeHeader, FRAME_KIND, FrameHeader, HEADER_BYTES } from '../../../../engine/protocol/index.ts';
import { FrameReader, type FrameSink } from '../../../../engine/transport/tcp/frame-reader.ts';

type Sent = { readonly requestId: number; readonly meta: Buffer; readonly payload: Buffer };

function bytesOf({ requestId, meta, payload }: Sent): Buffer {
  const header = new FrameHeader();
  header.kind = FRAME_KIND.request;
  header.op = 2;
  header.requestId = requestId;
  header.deadlineMs = 1000;
  header.metaLength = meta.length;
  header.payloadLength = payload.length;
  header.metaCrc = meta.length === 0 ? 0 : crc32c(meta);
  const head = Buffer.alloc(HEADER_BYTES);
  encodeHeader(head, 0, header);
  return Buffer.concat([head, meta, payload]);
}

function randomFrames(random: SeededRandom, count: number): Sent[] {
  const sizes = [0, 1, 100, 4096, 16_000, 16_384, 16_385, 70_000];
  const bytes = (): Buffer => Buffer.from(random.bytes(sizes[random.uint32() % sizes.length] ?? 0));
  return Array.from({ length: count }, (_, at) => ({
    requestId: at + 1,
    meta: Buffer.from(random.bytes(random.uint32() % 700)),
    payload: bytes(),
  }));
}

/** Takes frames, holds now and then, throws some payloads away. */
class Collector implements FrameSink {
  readonly frames: { requestId: number; meta: Buffer; payload: Buffer | undefined }[] = [];
  readonly reader = new FrameReader(this);
  brokenBy = '';
  readonly #random: SeededRandom;
  readonly #holds: boolean;

  constructor(random: SeededRandom, holds: boolean) {
    this.#random = random;
    this.#holds = holds;
  }

  accept(header: FrameHeader): boolean {
    this.reader.meta = Buffer.alloc(header.metaLength);
    this.reader.payload = header.requestId % 5 === 0 ? undefined : Buffer.alloc(header.payloadLength);
    return !this.#holds || this.#random.uint32() % 3 !== 0;
  }

  frame(header: FrameHeader): void {
    const { meta, payload } = this.reader;
    const whole = header.payloadLength === 0 || payload === undefined ? undefined : Buffer.from(payload);
    this.frames.push({ requestId: header.requestId, meta: Buffer.from(meta), payload: whole });
  }

  broken(reason: string): void {
    this.brokenBy = reason;
  }
}

/** As the socket does it: after each read it asks for the next buffer, and reads no more while it was told to stop. */
function feed(collector: Collector, stream: Buffer, random: SeededRandom): void {
  const { reader } = collector;
  let into = reader.next();
  let at = 0;
  while (at < stream.length) {
    assert.ok(into.length > 0, 'a buffer without room was named');
    const most = Math.min(into.length, stream.length - at);
    const count = random.uint32() % 4 === 0 ? 1 + (random.uint32() % most) : most;
    into.set(stream.subarray(at, at + count));
    at += count;
    const goOn = reader.received(count);
    into = reader.next();
    if (reader.stopped) return;
    assert.equal(goOn, !reader.held);
    while (reader.held) reader.proceed();
  }
}

describe('frame reader', () => {
  for (const holds of [false, true]) {
    it(`finds the same frames however the stream is cut${holds ? ', held or not' : ''}`, () => {
      for (let seed = 1; seed <= 60; seed++) {
        const random = new SeededRandom(seed);
        const sent = randomFrames(random, 40);
        const collector = new Collector(random, holds);
        feed(collector, Buffer.concat(sent.map(bytesOf)), random);
        assert.equal(collector.brokenBy, '', `seed ${seed}`);
        assert.equal(collector.reader.midFrame, false, `seed ${seed}`);
        assert.deepEqual(
          collector.frames,
          sent.map(({ requestId, meta, payload }) => ({
            requestId,
            meta,
            payload: requestId % 5 === 0 || payload.length === 0 ? undefined : payload,
          })),
          `seed ${seed}`,
        );
      }
    });
  }

  it('hands out what came whole before it breaks off at what makes no sense', () => {
    const random = new SeededRandom(9);
    const sent = randomFrames(random, 3);
    const collector = new Collector(random, false);
    feed(collector, Buffer.concat([...sent.map(bytesOf), Buffer.alloc(HEADER_BYTES, 7), ...sent.map(bytesOf)]), random);
    assert.equal(collector.frames.length, 3);
    assert.equal(collector.brokenBy, 'wrong magic');
    assert.equal(collector.reader.received(10), false);
  });
});
