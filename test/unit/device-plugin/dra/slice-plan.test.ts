import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ResourceSliceSpec } from '../../../../device-plugin/dra/resource-api.ts';
import { sliceName, slicePlan } from '../../../../device-plugin/dra/slice-plan.ts';
import { parseSlice, type StoredSlice, withTimes } from '../../../../device-plugin/dra/stored-slice.ts';

function specs(...lists: readonly (readonly string[])[]): ResourceSliceSpec[] {
  return lists.map((names) => ({
    driver: 'devices.nabustore.io',
    nodeName: 'node-1',
    pool: { name: 'node-1', generation: 0, resourceSliceCount: lists.length },
    devices: names.map((name) => ({ name, attributes: {} })),
  }));
}

function stored(name: string, spec: ResourceSliceSpec, generation: number): StoredSlice {
  return parseSlice({
    metadata: { name, uid: name, resourceVersion: '1' },
    spec: { ...spec, pool: { ...spec.pool, generation } },
  });
}

/** What the server has after a plan was carried out. */
function carriedOut(before: readonly StoredSlice[], wanted: readonly ResourceSliceSpec[]): StoredSlice[] {
  const { deletes, updates, creates } = slicePlan(before, wanted);
  const slices = new Map(before.map((slice) => [slice.metadata.name, slice]));
  for (const { metadata } of deletes) slices.delete(metadata.name);
  for (const { stored: slice, spec } of updates) {
    slices.set(slice.metadata.name, stored(slice.metadata.name, spec, spec.pool.generation));
  }
  for (const { name, spec } of creates) {
    assert.ok(!slices.has(name), `${name} is there`);
    slices.set(name, stored(name, spec, spec.pool.generation));
  }
  return [...slices.values()];
}

describe('the plan for resource slices', () => {
  const two = (): StoredSlice[] => carriedOut([], specs(['a'], ['b']));

  it('creates all of a new pool in its first generation', () => {
    const { deletes, updates, creates } = slicePlan([], specs(['a'], ['b']));
    assert.deepEqual([deletes.length, updates.length], [0, 0]);
    assert.deepEqual(
      creates.map(({ name, spec }) => [name, spec.pool.generation]),
      [
        ['000-devices.nabustore.io-node-1', 1],
        ['001-devices.nabustore.io-node-1', 1],
      ],
    );
  });

  it('does nothing when everything is as it is wanted', () => {
    assert.deepEqual(slicePlan(two(), specs(['a'], ['b'])), { deletes: [], updates: [], creates: [] });
  });

  it('writes one slice that changed alone, in its generation', () => {
    const { updates, creates, deletes } = slicePlan(two(), specs(['a'], ['c']));
    assert.deepEqual([creates.length, deletes.length, updates.length], [0, 0, 1]);
    assert.equal(updates[0]?.spec.pool.generation, 1);
  });

  it('begins a new generation, in every slice, when two change or their number does', () => {
    for (const wanted of [specs(['x'], ['y']), specs(['a'], ['b'], ['c']), specs(['a'])]) {
      const { updates, creates } = slicePlan(two(), wanted);
      const written = [...updates.map(({ spec }) => spec), ...creates.map(({ spec }) => spec)];
      assert.deepEqual(
        written.map(({ pool }) => pool.generation),
        wanted.map(() => 2),
      );
    }
  });

  it('takes away what is not its own by name, and another pool under its name', () => {
    const [first] = two();
    assert.ok(first !== undefined);
    const foreign = { ...first, metadata: { ...first.metadata, name: 'made-by-hand' } };
    const other = { ...first, spec: { ...first.spec, pool: { ...first.spec.pool, name: 'elsewhere' } } };
    assert.deepEqual(slicePlan([...two(), foreign], specs(['a'], ['b'])).deletes, [foreign]);
    const plan = slicePlan([other], specs(['a']));
    assert.deepEqual([plan.deletes.length, plan.updates.length, plan.creates.length], [1, 0, 1]);
  });

  it('finds the same name for the same place, and one that fits for the longest node', () => {
    const long = `${'a'.repeat(60)}.`.repeat(4).slice(0, 253 - 1);
    const name = sliceName(long, 7);
    assert.ok(name.length <= 253);
    assert.match(name, /^007-devices\.nabustore\.io-[a-z0-9.-]*[a-z0-9]$/);
    assert.notEqual(name, sliceName(`${long}b`, 7));
  });

  it('keeps when a taint came', () => {
    const taint = { key: 'nabustore.io/unhealthy', value: 'link', effect: 'NoSchedule' } as const;
    const device = { name: 'a', attributes: {}, taints: [taint] };
    const [spec] = specs([]);
    assert.ok(spec !== undefined);
    const slice = stored(
      'x',
      { ...spec, devices: [{ ...device, taints: [{ ...taint, timeAdded: 'then' }] }] as never },
      1,
    );
    assert.deepEqual(withTimes(slice, [device]), [{ ...device, taints: [{ ...taint, timeAdded: 'then' }] }]);
    const other = { ...device, taints: [{ ...taint, value: 'absent' }] };
    assert.deepEqual(withTimes(slice, [other]), [other]);
  });

  it('ends where it is to, from wherever a crash has left it, and stays there', () => {
    const lists = fc.array(fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 3 }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(lists, lists, fc.nat(8), (first, second, cut) => {
        const begun = carriedOut([], specs(...first));
        const { deletes, updates, creates } = slicePlan(begun, specs(...second));
        // Some of it was done, in its order.
        const steps = [
          ...deletes.map((slice) => ({ name: slice.metadata.name, slice: undefined })),
          ...updates.map(({ stored: { metadata }, spec }) => ({
            name: metadata.name,
            slice: stored(metadata.name, spec, spec.pool.generation),
          })),
          ...creates.map(({ name, spec }) => ({ name, slice: stored(name, spec, spec.pool.generation) })),
        ].slice(0, cut);
        const slices = new Map(begun.map((slice) => [slice.metadata.name, slice]));
        for (const { name, slice } of steps) {
          if (slice === undefined) slices.delete(name);
          else slices.set(name, slice);
        }
        const done = carriedOut([...slices.values()], specs(...second));
        assert.deepEqual(
          done.map(({ spec }) => spec.devices?.map(({ name }) => name)).sort(),
          second.map((names) => [...names]).sort(),
        );
        assert.equal(new Set(done.map(({ spec }) => spec.pool.generation)).size, 1);
        assert.ok(done.every(({ spec }) => spec.pool.resourceSliceCount === second.length));
        assert.deepEqual(slicePlan(done, specs(...second)), { deletes: [], updates: [], creates: [] });
      }),
      { numRuns: 300 },
    );
  });
});
