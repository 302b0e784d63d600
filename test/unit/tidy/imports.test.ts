import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { filesOf, importsOf, ROOT, textOf } from './tree.ts';

/** Who may import whom, by top-level folder (DESIGN.md section 5). Everybody may import itself and the generated code. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  common: [],
  engine: ['common'],
  csi: ['engine', 'common'],
  'device-plugin': ['engine', 'common'],
  'scheduler-extender': ['engine', 'common'],
  operator: ['engine', 'common'],
  cli: ['engine', 'common'],
  scripts: ['common', 'device-plugin'],
};

const top = (path: string): string => path.split('/')[0] ?? '';
const sources = Object.keys(ALLOWED).flatMap((folder) =>
  existsSync(join(ROOT, folder)) ? filesOf(folder, /\.ts$/) : [],
);

/** `nabu csi` and the like: the subcommand that starts a binary imports that binary's entry, and nothing else of it. */
const startsBinary = (from: string, to: string): boolean =>
  from.startsWith('cli/commands/') && /^[\w-]+\/(index|([\w-]+\/)?main)\.ts$/.test(to);

/** The folder whose public face the import should have used, if it reached past one. */
function bypassedIndex(from: string, to: string): string | undefined {
  const folders = dirname(to).split('/');
  for (let length = 1; length <= folders.length; length++) {
    const folder = folders.slice(0, length).join('/');
    if (from.startsWith(`${folder}/`)) continue;
    const index = `${folder}/index.ts`;
    if (existsSync(join(ROOT, index))) return to === index || /\/main\.ts$/.test(to) ? undefined : index;
  }
  return undefined;
}

describe('imports', () => {
  it('point one way between the top-level folders', () => {
    const wrong = sources.flatMap((from) =>
      importsOf(from)
        .filter((to) => {
          const isAllowed = top(to) === top(from) || ALLOWED[top(from)]?.includes(top(to)) === true;
          return !isAllowed && !to.startsWith('proto/gen/') && !startsBinary(from, to);
        })
        .map((to) => `${from} imports ${to}`),
    );
    assert.deepEqual(wrong, []);
  });

  it("reach another folder through its index.ts, the folder's public face", () => {
    const wrong = sources.flatMap((from) =>
      importsOf(from)
        .map((to) => [to, bypassedIndex(from, to)] as const)
        .filter(([, index]) => index !== undefined)
        .map(([to, index]) => `${from} imports ${to} instead of ${index}`),
    );
    assert.deepEqual(wrong, []);
  });

  it('load native addons in adapters named native.ts alone', () => {
    const wrong = sources.filter(
      (path) => !/\/native\.ts$/.test(path) && /build\/native|\bprocess\.dlopen\b|\.node'/.test(textOf(path)),
    );
    assert.deepEqual(
      wrong.filter((path) => !path.startsWith('scripts/')),
      [],
    );
  });

  it('are found by this test at all', () => {
    assert(importsOf('test/unit/tidy/imports.test.ts').includes('test/unit/tidy/tree.ts'));
    assert(sources.length > 50);
  });
});
