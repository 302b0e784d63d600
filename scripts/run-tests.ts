// Runs suites one after another and closes with what failed and one line of totals over all of them.
// usage: run-tests.ts SUITE... [--only GLOB]     --only replaces the files of the mocha suites named
import { parseArgs } from 'node:util';
import { killChildren } from './tests/child.ts';
import { type Counts, closingLine, NO_COUNTS, sum } from './tests/counts.ts';
import { runSuite, SUITES } from './tests/suites.ts';

const { positionals, values } = parseArgs({ allowPositionals: true, options: { only: { type: 'string' } } });
const unknown = positionals.filter((name) => !Object.hasOwn(SUITES, name));
if (unknown.length > 0 || positionals.length === 0) {
  process.stderr.write(
    `run-tests: ${unknown.join(', ') || 'no suite'}: choose from ${Object.keys(SUITES).join(', ')}\n`,
  );
  process.exit(64);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killChildren();
    process.exit(130);
  });
}

let total: Counts = NO_COUNTS;
const lines: string[] = [];
const failed: string[] = [];
for (const name of positionals) {
  const startedMs = performance.now();
  process.stdout.write(`\n=== ${name}\n`);
  const { counts, failures } = await runSuite(name, values.only);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  lines.push(`${name.padEnd(12)} ${closingLine(counts)} (${seconds} s)`);
  total = sum(total, counts);
  failed.push(...failures.map((what) => `${name}: ${what}`));
}
if (failed.length > 0) process.stdout.write(`\n=== failed\n${failed.join('\n')}\n`);
process.stdout.write(`\n=== suites\n${lines.join('\n')}\n\n${closingLine(total)}\n`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
