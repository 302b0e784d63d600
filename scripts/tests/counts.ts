export type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

/** What a suite came to, and what failed in it, a line each: the end of a long output is all that some readers get. */
export type Outcome = { readonly counts: Counts; readonly failures: readonly string[] };

export const NO_COUNTS: Counts = { passed: 0, failed: 0, skipped: 0 };

export function sum(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** The form that pipelines read. */
export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/**
 * doctest's own summary, e.g. `test cases: 8 | 7 passed | 1 failed | 0 skipped`. A test that cannot run on this machine
 * prints a line `SKIPPED <what is missing>` and returns; doctest counts it as passed, we do not.
 */
export function parseDoctest(output: string): Counts | undefined {
  const match = /test cases:\s*\d+\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed/.exec(output);
  if (match === null) return undefined;
  const skipped = output.match(/^SKIPPED /gm)?.length ?? 0;
  return { passed: Math.max(0, Number(match[1]) - skipped), failed: Number(match[2]), skipped };
}
