import assert from 'node:assert/strict';
import { SimClock } from '../../../../common/ports/index.ts';
import { type ImagePosition, VOLUME_BLOCK, type VolumeEvent } from '../../../../engine/volume/native.ts';
import { Sealer } from '../../../../engine/volume/sealer.ts';

const DELAY_MS = 20;
const POSITION: ImagePosition = {
  generation: 1n,
  incarnation: 1n,
  sequence: 1n,
  previousGeneration: 0n,
  previousIncarnation: 0n,
  checkpointSequence: 0n,
};

/** A native volume as far as sealing goes: bytes that are unsealed, and when it speaks up about them. */
class Bytes {
  readonly clock = new SimClock();
  readonly sealedAtMs: number[] = [];
  readonly committed: bigint[] = [];
  unsealed = 0;
  firsts = 0;
  /** Images that hold one block each. */
  atOnce = true;
  #watching = true;
  #sequence = 0n;
  readonly sealer: Sealer;

  constructor() {
    this.sealer = new Sealer({
      native: {
        unsealedBytes: () => this.unsealed,
        watchWrites: () => {
          this.#watching = true;
          return this.unsealed;
        },
        seal: () => {
          if (this.unsealed === 0) return null;
          const length = this.atOnce ? this.unsealed : VOLUME_BLOCK;
          this.unsealed -= length;
          this.sealedAtMs.push(this.clock.monotonicMs());
          return { length, payloadBlocks: 1, entryCount: 1, more: this.unsealed > 0 };
        },
        commit: (sequence) => {
          this.committed.push(sequence);
        },
      },
      appender: {
        append: async (atMostBytes, _compaction, build) => {
          const built = build(0, atMostBytes, POSITION);
          return built === null ? undefined : { built, sequence: ++this.#sequence, durable: Promise.resolve() };
        },
      },
      clock: this.clock,
      sealDelayMs: DELAY_MS,
      onFailure: (err) => {
        throw err;
      },
    });
  }

  write(blocks = 1): void {
    this.unsealed += blocks * VOLUME_BLOCK;
    if (!this.#watching) return;
    this.#watching = false;
    this.firsts++;
    this.say('first');
  }

  flush(): void {
    this.say('flush');
  }

  say(reason: Extract<VolumeEvent, { type: 'seal-wanted' }>['reason']): void {
    this.sealer.onSealWanted({ type: 'seal-wanted', reason, pendingBytes: this.unsealed });
  }
}

describe('the sealer of a volume', () => {
  it('seals what nobody waits for after one delay, and asks to be told of the next write when there is none', async () => {
    const on = new Bytes();
    await on.clock.advance(5);
    on.write();
    await on.clock.advance(DELAY_MS - 1);
    assert.deepEqual(on.sealedAtMs, []);
    await on.clock.advance(1);
    assert.deepEqual(on.sealedAtMs, [5 + DELAY_MS]);
    assert.equal(on.clock.pendingTimers, 1);
    await on.clock.advance(DELAY_MS);
    assert.equal(on.clock.pendingTimers, 0);
    on.write();
    assert.equal(on.firsts, 2);
    await on.clock.advance(DELAY_MS);
    assert.equal(on.sealedAtMs.length, 2);
    assert.deepEqual(on.committed, [1n, 2n]);
  });

  it('seals at once for a flush, and does not hear of each write while flushes come', async () => {
    const on = new Bytes();
    for (let i = 0; i < 100; i++) {
      on.write();
      on.flush();
      await on.clock.advance(1);
    }
    assert.equal(on.sealedAtMs.length, 100);
    assert.equal(on.firsts, 1);
  });

  it('leaves nothing unsealed for more than two delays, whatever is flushed meanwhile', async () => {
    const on = new Bytes();
    on.write();
    on.flush();
    await on.clock.advance(1);
    on.write(); // younger than the flush: the first look after it lets it be
    const writtenAtMs = on.clock.monotonicMs();
    await on.clock.advance(2 * DELAY_MS);
    assert.equal(on.unsealed, 0);
    const sealedAtMs = on.sealedAtMs[1] ?? Number.POSITIVE_INFINITY;
    assert.ok(sealedAtMs - writtenAtMs <= 2 * DELAY_MS, `sealed ${sealedAtMs - writtenAtMs} ms after it was written`);
  });

  it('seals a steady trickle once per delay', async () => {
    const on = new Bytes();
    for (let i = 0; i < 10 * DELAY_MS; i++) {
      on.write();
      await on.clock.advance(1);
    }
    assert.equal(on.sealedAtMs.length, 10);
  });

  it('goes on until all is sealed', async () => {
    const on = new Bytes();
    on.atOnce = false;
    on.write(7);
    await on.sealer.drain();
    assert.equal(on.unsealed, 0);
    assert.equal(on.sealer.sealedImages, 7);
    assert.equal(on.sealer.sealedBytes, 7 * VOLUME_BLOCK);
  });

  it('seals nothing more when it is closed', async () => {
    const on = new Bytes();
    on.write();
    await on.sealer.close();
    on.flush();
    await on.clock.advance(10 * DELAY_MS);
    assert.equal(on.unsealed, VOLUME_BLOCK);
    assert.equal(on.clock.pendingTimers, 0);
  });
});
