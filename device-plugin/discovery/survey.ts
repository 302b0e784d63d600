import { abortError } from '../../common/concurrency/index.ts';
import type { Attribute } from './attribute.ts';
import type { Findings } from './finding.ts';
import type { Outcome, SysTree } from './sys-tree.ts';
import type { TreeEntry } from './tree-files.ts';

export type SurveyOptions = {
  readonly sys: SysTree;
  readonly dev: SysTree;
  readonly proc: SysTree;
  readonly findings: Findings;
  readonly isCharDevice: (entry: TreeEntry) => boolean;
  readonly signal: AbortSignal;
};

const EXCERPT_CHARS = 40;

/** What a file that is not there means: nothing (a driver that has no such attribute), or a finding. */
export type Absence = 'normal' | 'finding';

/**
 * One discovery under way: the three trees, and where what cannot be used is written down. Every question answers null (or
 * nothing) for what is not there or not usable; the cause of the latter is among the findings.
 */
export class Survey {
  readonly sys: SysTree;
  readonly dev: SysTree;
  readonly proc: SysTree;
  readonly isCharDevice: (entry: TreeEntry) => boolean;
  readonly #findings: Findings;
  readonly #signal: AbortSignal;

  constructor({ sys, dev, proc, findings, isCharDevice, signal }: SurveyOptions) {
    this.sys = sys;
    this.dev = dev;
    this.proc = proc;
    this.isCharDevice = isCharDevice;
    this.#findings = findings;
    this.#signal = signal;
  }

  /** The value of a file. An empty file is a finding unless the attribute takes it. */
  async value<T>(
    tree: SysTree,
    path: string,
    attribute: Attribute<T>,
    absence: Absence = 'finding',
  ): Promise<T | null> {
    const text = this.taken(tree, path, await tree.text(path), absence);
    if (text === null) return null;
    const value = attribute.parse(text);
    if (value !== undefined) return value;
    const shown = text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS)}...` : text;
    const holds = text === '' ? 'is empty' : `holds ${JSON.stringify(shown)}`;
    this.note(tree, path, `${holds} where ${attribute.expected} is expected`);
    return null;
  }

  /** The names in a directory that match, sorted; none where there is no such directory. */
  async names(tree: SysTree, path: string, pattern: RegExp, absence: Absence = 'normal'): Promise<readonly string[]> {
    const names = this.taken(tree, path, await tree.names(path), absence);
    return names === null ? [] : names.filter((name) => pattern.test(name));
  }

  /** Where a link leads, relative to the root of its tree. */
  async target(tree: SysTree, path: string, absence: Absence = 'normal'): Promise<string | null> {
    return this.taken(tree, path, await tree.resolve(path), absence);
  }

  /** The last component of where a link leads: the name of a driver, an IOMMU group. */
  async targetName(tree: SysTree, path: string, absence: Absence = 'normal'): Promise<string | null> {
    const target = await this.target(tree, path, absence);
    return target === null ? null : target.slice(target.lastIndexOf('/') + 1);
  }

  taken<T>(tree: SysTree, path: string, outcome: Outcome<T>, absence: Absence): T | null {
    if (this.#signal.aborted) throw abortError(this.#signal, 'device discovery');
    if (outcome.ok) return outcome.value;
    if (!outcome.isMissing || absence === 'finding') this.note(tree, path, outcome.reason);
    return null;
  }

  note(tree: SysTree, path: string, reason: string): void {
    this.#findings.add(`${tree.name}/${path}`, reason);
  }
}

/** What each of the things gives, one after the other: a discovery runs beside production work and takes one core at most. */
export async function eachInTurn<T, R>(
  things: readonly T[],
  of: (thing: T) => Promise<R | null>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (const thing of things) {
    const result = await of(thing);
    if (result !== null) results.push(result);
  }
  return results;
}

/**
 * 'mlx5_2' before 'mlx5_10': names ordered by their text and the decimal numbers in it. Total, and the same everywhere. (PCI
 * addresses are hexadecimal and of fixed width: their own order is that of the text.)
 */
export function byName(a: string, b: string): number {
  const left = a.split(/(\d+)/);
  const right = b.split(/(\d+)/);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x = '', y = ''] = [left[i], right[i]];
    if (x === y) continue;
    const difference = i % 2 === 1 ? Number(x) - Number(y) : 0;
    if (difference !== 0) return difference;
    return x < y ? -1 : 1;
  }
  return left.length - right.length;
}
