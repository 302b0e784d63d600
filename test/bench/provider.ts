import type { Scope } from './scope.ts';

/** One line of `make bench`. `ratio` is ours / peer; only the index rows, in ns, give peer / ours. */
export type Row = {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
  readonly method: string;
};

export type Bench = {
  /** Everything a provider starts or makes is handed to this and gone when its rows are done, also when they fail. */
  readonly scope: Scope;
  /** For a person who waits: standard error. */
  progress(text: string): void;
  /** Whether the row was asked for. */
  wants(name: string): boolean;
};

/** Measures some rows. Throws Missing when the machine or the build lacks something they need. */
export type Provider = {
  /** Rows that it may give: what `--only` chooses from. */
  readonly rows: readonly string[];
  measure(bench: Bench): AsyncIterable<Row>;
};

/** A peer, a program or a right that is not there: the rows are skipped, loudly. */
export class Missing extends Error {
  override readonly name = 'Missing';
}

export function row(name: string, unit: string, ours: number, peer: number, method: string): Row {
  return { name, unit, ours: rounded(ours), peer: rounded(peer), ratio: rounded(ours / peer), method };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error('the median of nothing');
  return middle;
}
