import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

export const ROOT = join(import.meta.dirname, '../../..');
const LEFT_OUT = new Set(['node_modules', 'build', 'coverage', 'gen']);

/** Every file of ours below a folder of the repository, as paths from its root. */
export function filesOf(folder: string, pattern: RegExp): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(ROOT, path), { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name) || (entry.name.startsWith('.') && entry.name !== '.ci')) continue;
      const child = join(path, entry.name);
      if (entry.isDirectory()) visit(child);
      else if (pattern.test(child)) found.push(child);
    }
  };
  visit(folder);
  return found.sort();
}

export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The files of ours that a file imports, as paths from the root. */
export function importsOf(path: string): string[] {
  const text = textOf(path);
  return [...text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)'(\.[^']*)'/g)].map(([, target = '']) =>
    relative(ROOT, join(ROOT, dirname(path), target)),
  );
}
