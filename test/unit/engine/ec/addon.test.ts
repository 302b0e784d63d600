import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type EcAddon, loadEc, type NativeCoder } from '../../../../engine/ec/native.ts';
import { patternBytes } from './stripes.ts';

// Straight at the binding, past the types: whatever JavaScript does, it gets an error and the process lives.

const HOSTILE: unknown[] = [
  undefined,
  null,
  true,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  10n,
  'text',
  Symbol('s'),
  {},
  [],
  () => 0,
  new Uint8Array(3),
  new Float32Array(6),
  new ArrayBuffer(1),
  new SharedArrayBuffer(64),
  new Proxy({}, {}),
];

const ADDON = new URL('../../../../build/native/ec/ec.node', import.meta.url).pathname;

function detached(length: number): ArrayBuffer {
  const buffer = new ArrayBuffer(length);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function codeOf(call: () => unknown): unknown {
  try {
    call();
    return undefined;
  } catch (err) {
    return err instanceof Error ? Reflect.get(err, 'code') : err;
  }
}

describe('erasure coding addon', () => {
  const ec: EcAddon = loadEc();
  const SHARD = 8192;
  const slab = new ArrayBuffer(6 * SHARD);
  const coder: NativeCoder = new ec.Coder(slab, 4, 2);
  const crcs = new Uint32Array(12);
  const hash = new Uint8Array(16);
  const offsets = Float64Array.from({ length: 6 }, (_, shard) => shard * SHARD);
  const nothing = (): void => undefined;

  const calls: [string, (...args: never[]) => unknown, unknown[]][] = [
    ['crc32c', ec.crc32c, [slab, 0, 64, 0]],
    ['crc32cBlocks', ec.crc32cBlocks, [slab, 0, 8192, crcs]],
    ['verifyBlocks', ec.verifyBlocks, [slab, 0, 8192, crcs]],
    ['stripeHash', ec.stripeHash, [slab, 0, 64, 4, 2, hash]],
    ['configureWorkers', ec.configureWorkers, [1, 1]],
    ['encodeStripe', coder.encodeStripe, [0, SHARD, 4 * SHARD, crcs, hash]],
    ['encodeStripeAsync', coder.encodeStripeAsync, [0, SHARD, 4 * SHARD, crcs, hash, nothing]],
    ['reconstruct', coder.reconstruct, [offsets, 0b111100, 0b11, SHARD]],
    ['reconstructAsync', coder.reconstructAsync, [offsets, 0b111100, 0b11, SHARD, nothing]],
    ['verify', coder.verify, [offsets, SHARD]],
    ['verifyAsync', coder.verifyAsync, [offsets, SHARD, nothing]],
  ];

  for (const [name, method, good] of calls) {
    it(`${name} answers any value in any place with a result or an error of the registry`, () => {
      const codes = new Set<unknown>();
      for (let place = 0; place < good.length; place++) {
        for (const value of HOSTILE) {
          const args = good.with(place, value);
          codes.add(codeOf(() => Reflect.apply(method, coder, args)));
        }
        codes.add(codeOf(() => Reflect.apply(method, coder, good.slice(0, place))));
      }
      codes.delete(undefined);
      const known = ['INVALID_ARGUMENT', 'OUT_OF_RANGE', 'FAILED_PRECONDITION', 'QUEUE_FULL'];
      assert.deepEqual(
        [...codes].filter((code) => !known.includes(String(code))),
        [],
      );
      assert.ok(codes.has('INVALID_ARGUMENT'));
    });
  }

  it('methods on an object that is no coder throw', () => {
    for (const receiver of [{}, null, slab, Object.create(ec.Coder.prototype), new Map()]) {
      assert.throws(() => Reflect.apply(coder.verify, receiver, [offsets, SHARD]), TypeError);
    }
    assert.throws(() => Reflect.apply(ec.Coder as unknown as () => void, undefined, [slab, 4, 2]), TypeError);
  });

  it('the constructor refuses what is no fixed, whole slab', () => {
    const Coder = ec.Coder as unknown as new (...args: unknown[]) => NativeCoder;
    for (const value of HOSTILE.filter((v) => !(v instanceof ArrayBuffer))) {
      assert.equal(
        codeOf(() => new Coder(value, 4, 2)),
        'INVALID_ARGUMENT',
      );
    }
    assert.equal(
      codeOf(() => new Coder(new ArrayBuffer(64, { maxByteLength: 128 }), 4, 2)),
      'INVALID_ARGUMENT',
    );
    assert.equal(
      codeOf(() => new Coder(slab, 0, 2)),
      'INVALID_ARGUMENT',
    );
    assert.equal(
      codeOf(() => new Coder(slab, 4, 2, 7)),
      'INVALID_ARGUMENT',
    );
    assert.equal(
      codeOf(() => new Coder(slab)),
      'INVALID_ARGUMENT',
    );
  });

  it('a slab or an output that was transferred away is refused', () => {
    const gone = new ArrayBuffer(6 * SHARD);
    const orphan = new ec.Coder(gone, 4, 2);
    const orphanOut = new Uint32Array(12);
    structuredClone(orphanOut.buffer, { transfer: [orphanOut.buffer] });
    structuredClone(gone, { transfer: [gone] });
    assert.equal(
      codeOf(() => orphan.encodeStripe(0, SHARD, 1, crcs, hash)),
      'OUT_OF_RANGE',
    );
    assert.equal(
      codeOf(() => orphan.verify(offsets, SHARD)),
      'OUT_OF_RANGE',
    );
    assert.equal(
      codeOf(() => coder.encodeStripe(0, SHARD, 1, orphanOut, hash)),
      'INVALID_ARGUMENT',
    );
    assert.equal(
      codeOf(() => ec.crc32c(detached(64), 0, 64)),
      'OUT_OF_RANGE',
    );
  });

  it('an output that is transferred away while the work is out becomes an error of the call', async () => {
    const out = new Uint32Array(12);
    const answer = new Promise<unknown>((resolve) => {
      coder.encodeStripeAsync(0, SHARD, 1, out, hash, (error) => resolve(error));
    });
    structuredClone(out.buffer, { transfer: [out.buffer] });
    assert.equal(Reflect.get((await answer) as object, 'code'), 'INVALID_ARGUMENT');
  });

  it('a callback that throws costs the other callbacks of its batch nothing', async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const ec = require(${JSON.stringify(ADDON)});
      const coder = new ec.Coder(new ArrayBuffer(6 * 8192), 4, 2);
      const offsets = Float64Array.from({ length: 6 }, (_, shard) => shard * 8192);
      let thrown = 0;
      let called = 0;
      process.on('uncaughtException', () => thrown++);
      for (let i = 0; i < 50; i++) coder.verifyAsync(offsets, 8192, () => {
        if (++called === 50) setImmediate(() => parentPort.postMessage({ thrown }));
        if (i % 10 === 0) throw new Error('mine');
      });`;
    const worker = new Worker(source, { eval: true });
    assert.deepEqual(await once(worker, 'message'), [{ thrown: 5 }]);
    await worker.terminate();
  });

  it('the bound of the queue is an error, and what was accepted still completes', async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const ec = require(${JSON.stringify(ADDON)});
      ec.configureWorkers(2, 8);
      const coder = new ec.Coder(new ArrayBuffer(6 * 65536), 4, 2, 'scalar');
      const offsets = Float64Array.from({ length: 6 }, (_, shard) => shard * 65536);
      const refused = [];
      let done = 0;
      for (let i = 0; i < 20; i++) {
        try {
          coder.verifyAsync(offsets, 65536, () => { if (++done === 8) again(); });
        } catch (err) { refused.push(err.code); }
      }
      function again() {
        coder.verifyAsync(offsets, 65536, (error, firstWrong) => {
          let late;
          try { ec.configureWorkers(1, 1); } catch (err) { late = err.code; }
          parentPort.postMessage({ refused, firstWrong, late });
        });
      }`;
    const worker = new Worker(source, { eval: true });
    const [{ refused, firstWrong, late }] = await once(worker, 'message');
    assert.deepEqual(
      refused,
      Array.from({ length: 12 }, () => 'QUEUE_FULL'),
    );
    assert.equal(firstWrong, -1);
    assert.equal(late, 'FAILED_PRECONDITION');
    await worker.terminate();
  });

  it('an environment that ends with work in flight ends cleanly, again and again', async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const ec = require(${JSON.stringify(ADDON)});
      const coder = new ec.Coder(new ArrayBuffer(6 * 1048576), 4, 2, 'isal');
      const crcs = new Uint32Array(6 * 256);
      const hash = new Uint8Array(16);
      const go = () => coder.encodeStripeAsync(0, 1048576, 1, crcs, hash, go);
      for (let i = 0; i < 30; i++) go();
      parentPort.postMessage('busy');`;
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(source, { eval: true });
      await once(worker, 'message');
      await worker.terminate();
    }
    // The other environments go on.
    assert.equal(ec.crc32c(patternBytes(10), 0, 0), 0);
  });

  it('a process with nothing left but finished work exits by itself', async () => {
    const source = `
      const ec = require(${JSON.stringify(ADDON)});
      const coder = new ec.Coder(new ArrayBuffer(6 * 4096), 4, 2);
      const offsets = Float64Array.from({ length: 6 }, (_, shard) => shard * 4096);
      coder.verifyAsync(offsets, 4096, () => undefined);`;
    const worker = new Worker(source, { eval: true });
    assert.deepEqual(await once(worker, 'exit'), [0]);
  });
});
