import type { Context } from 'mocha';

/** Leaves the test (or, in a `before` hook, the whole group) out, loudly: names what this machine lacks. Never returns. */
export function skip(context: Context, missing: string): never {
  const title = context.currentTest?.fullTitle() ?? context.test?.fullTitle() ?? 'a test';
  process.stdout.write(`SKIPPED ${title}: this machine has no ${missing}\n`);
  return context.skip();
}
