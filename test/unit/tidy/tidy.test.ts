import assert from 'node:assert/strict';
import { filesOf, textOf } from './tree.ts';

const MAX_LINES = 450;
const SELF = /^test\/unit\/tidy\//;
const typescript = filesOf('.', /\.ts$/).filter((path) => !path.endsWith('.d.ts'));
const native = filesOf('native', /\.(cc|h)$/);

/** Lines of code that match, with comments and texts left out. */
function matching(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    textOf(path)
      .split('\n')
      .map((line, index) => [`${path}:${index + 1}`, stripped(line)] as const)
      .filter(([, line]) => pattern.test(line))
      .map(([place, line]) => `${place} ${line.trim()}`),
  );
}

function stripped(line: string): string {
  return line
    .replace(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`/g, "''")
    .replace(/\/(?:\\.|[^/\\\n* ])(?:\\.|[^/\\\n])*\/[gimsuy]*/g, "''")
    .replace(/^\s*(\*|\/\*).*$|\/\/.*$/, '');
}

describe('the source tree', () => {
  it(`has no file of more than ${MAX_LINES} lines`, () => {
    const long = [...typescript, ...native]
      .map((path) => [path, textOf(path).split('\n').length - 1] as const)
      .filter(([, lines]) => lines > MAX_LINES);
    assert.deepEqual(long, []);
  });

  it('has no any, no default export, no enum, no namespace', () => {
    assert.deepEqual(matching(typescript, /(:|<|\bas)\s*any\b|\bany\[\]/), []);
    assert.deepEqual(matching(typescript, /^\s*export\s+default\b/), []);
    assert.deepEqual(matching(typescript, /^\s*(export\s+)?(declare\s+)?(const\s+)?(enum|namespace)\s+\w+\s*\{/), []);
  });

  it('does not assert away null with !', () => {
    assert.deepEqual(matching(typescript, /[\w)\]]!(?=[.;,)\]\s[]|$)(?!=)/), []);
  });

  it('does not silence the compiler or the linter', () => {
    const pattern = new RegExp(`@ts-(ignore|expect-error|nocheck)|${['biome', 'ignore'].join('-')}`);
    assert.deepEqual(
      [...typescript, ...native].filter((path) => !SELF.test(path) && pattern.test(textOf(path))),
      [],
    );
  });

  it('runs all of its tests: none is singled out or left out without a reason', () => {
    assert.deepEqual(matching(typescript, /\b(it|describe|test)\.(only|skip)\(|\bxit\(|\bxdescribe\(/), []);
    const skipping = matching(typescript, /\bthis\.skip\(\)|\bcontext\.skip\(\)/);
    assert.deepEqual(
      skipping.filter((place) => !place.startsWith('test/support/skip.ts')),
      [],
    );
  });

  it('puts nothing off without a decision', () => {
    const pattern = new RegExp(
      `\\b(${['TO', 'FIX', 'XX', 'HA'].map((word, i) => word + ['DO', 'ME', 'X', 'CK'][i]).join('|')})\\b`,
    );
    assert.deepEqual(
      [...typescript, ...native, ...filesOf('scripts', /\.sh$/)].filter((path) => pattern.test(textOf(path))),
      [],
    );
  });

  it('names no package registry', () => {
    const hosts = [
      ['registry', 'npmjs'],
      ['files', 'pythonhosted'],
      ['proxy', 'golang'],
      ['deb', 'debian'],
      ['archive', 'ubuntu'],
    ];
    const pattern = new RegExp(hosts.map((host) => host.join('\\.')).join('|'));
    const paths = filesOf('.', /\.(ts|js|json|md|sh|yml|yaml|txt|cmake)$|Makefile$/);
    assert.deepEqual(
      paths.filter((path) => pattern.test(textOf(path))),
      [],
    );
  });

  it('has one registry of errors: nothing in the product throws a bare Error', () => {
    const product = typescript.filter((path) => /^(common|engine|csi|cli|operator|device-plugin)\//.test(path));
    assert.deepEqual(matching(product, /\bthrow new Error\(/), []);
  });
});
