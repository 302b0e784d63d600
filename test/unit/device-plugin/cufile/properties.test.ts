import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CUFILE_VERSIONS, cufileJson } from '../../../../device-plugin/cufile/index.ts';
import { cufileSchema } from '../../../../device-plugin/cufile/schema.ts';
import { isObject, mergeTrees } from '../../../../device-plugin/cufile/tree.ts';
import { overridesArbitrary } from './arbitrary.ts';
import { machine, settingsOf } from './machines.ts';

/** A machine, and overrides that it may have. */
const cases = fc
  .tuple(fc.constantFrom('h200', 'h200-container', 'roce-only', 'p2pdma-only'), fc.constantFrom(...CUFILE_VERSIONS))
  .chain(([name, version]) => {
    const input = machine(name, version);
    return fc.record({ input: fc.constant(input), overrides: overridesArbitrary(input) });
  });

/** Every leaf of the override is in the file as it was given. */
function assertContains(file: unknown, part: unknown, path: string): void {
  if (!isObject(part)) {
    assert.deepEqual(file, part, path);
    return;
  }
  if (Object.keys(part).length > 0) assert(isObject(file), path);
  for (const [name, value] of Object.entries(part)) {
    assertContains(isObject(file) ? file[name] : undefined, value, `${path}.${name}`);
  }
}

describe('valid overrides of cufile.json', () => {
  it('give a valid file that says what they say', () => {
    fc.assert(
      fc.property(cases, ({ input, overrides }) => {
        const file: unknown = JSON.parse(cufileJson(input, settingsOf(), overrides).text);
        assert.deepEqual(cufileSchema(input.cufileVersion).safeParse(file).error?.issues, undefined);
        assertContains(file, overrides, 'file');
      }),
      { numRuns: 150 },
    );
  });

  it('can be a whole file that was made: it is made again, to the byte', () => {
    fc.assert(
      fc.property(cases, ({ input, overrides }) => {
        const { text } = cufileJson(input, settingsOf(), overrides);
        assert.equal(cufileJson(input, settingsOf(), JSON.parse(text)).text, text);
      }),
      { numRuns: 80 },
    );
  });

  it('are merged idempotently, and the empty one changes nothing', () => {
    const tree = fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.letrec<{ node: unknown; leaf: unknown }>((tie) => ({
        leaf: fc.oneof(fc.boolean(), fc.integer(), fc.array(fc.integer(), { maxLength: 3 })),
        node: fc.oneof(
          { maxDepth: 3 },
          tie('leaf'),
          fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('node'), { noNullPrototype: true }),
        ),
      })).node,
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(tree, tree, (below, above) => {
        const merged = mergeTrees(below, above);
        assert.deepEqual(mergeTrees(merged, above), merged);
        assert.deepEqual(mergeTrees(below, {}), { ...below });
      }),
    );
  });
});
