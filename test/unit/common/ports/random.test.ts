import assert from 'node:assert/strict';
import { type Random, realRandom, SeededRandom } from '../../../../common/ports/index.ts';

const draw = (random: Random): unknown[] => [random.uint32(), random.float(), [...random.bytes(7)], random.uint32()];

describe('SeededRandom', () => {
  it('replays its sequence under the same seed and differs under another', () => {
    assert.deepEqual(draw(new SeededRandom(7)), draw(new SeededRandom(7)));
    assert.notDeepEqual(draw(new SeededRandom(7)), draw(new SeededRandom(8)));
  });

  it('does not degenerate for the seed zero', () => {
    const random = new SeededRandom(0);
    assert(new Set(Array.from({ length: 100 }, () => random.uint32())).size > 90);
  });

  it('forks generators that do not repeat their parent', () => {
    const parent = new SeededRandom(1);
    const child = parent.fork();
    assert.notDeepEqual(draw(child), draw(parent));
  });
});

for (const [name, random] of [
  ['SeededRandom', new SeededRandom(42)],
  ['realRandom', realRandom],
] as const) {
  describe(`values of ${name}`, () => {
    it('lie in their ranges, spread over them', () => {
      let total = 0;
      const buckets = new Array<number>(16).fill(0);
      for (let i = 0; i < 16_000; i++) {
        const word = random.uint32();
        assert(Number.isInteger(word) && word >= 0 && word < 2 ** 32);
        const bucket = word >>> 28;
        buckets[bucket] = (buckets[bucket] ?? 0) + 1;
        const float = random.float();
        assert(float >= 0 && float < 1);
        total += float;
      }
      for (const count of buckets) assert(count > 700 && count < 1300, `${buckets}`);
      assert(Math.abs(total / 16_000 - 0.5) < 0.02);
    });

    it('come as as many bytes as were asked for, none of them constant', () => {
      for (const count of [0, 1, 3, 4, 31, 4096]) assert.equal(random.bytes(count).length, count);
      const seen = random.bytes(4);
      for (let i = 0; i < 64; i++) {
        for (const [at, byte] of random.bytes(4).entries()) seen[at] = (seen[at] ?? 0) | byte;
      }
      assert.deepEqual([...seen], [255, 255, 255, 255]);
    });
  });
}
