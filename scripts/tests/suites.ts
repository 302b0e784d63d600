import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { runChild } from './child.ts';
import { type Counts, NO_COUNTS, type Outcome, parseDoctest, sum } from './counts.ts';

const MINUTE_MS = 60_000;

type MochaSuite = {
  readonly kind: 'mocha';
  readonly folder: string;
  /** Runs first; the suite fails with it. */
  readonly prepare?: { readonly script: string; readonly timeoutMs: number };
  readonly testTimeoutMs: number;
  readonly timeoutMs: number;
};
type NativeSuite = {
  readonly kind: 'native';
  readonly flavour: 'release' | 'asan' | 'tsan';
  readonly timeoutMs: number;
};
type CheckSuite = { readonly kind: 'check'; readonly timeoutMs: number };

export const SUITES: Readonly<Record<string, MochaSuite | NativeSuite | CheckSuite>> = {
  check: { kind: 'check', timeoutMs: 5 * MINUTE_MS },
  unit: { kind: 'mocha', folder: 'test/unit', testTimeoutMs: 20_000, timeoutMs: 15 * MINUTE_MS },
  native: { kind: 'native', flavour: 'release', timeoutMs: 10 * MINUTE_MS },
  'native-asan': { kind: 'native', flavour: 'asan', timeoutMs: 15 * MINUTE_MS },
  'native-tsan': { kind: 'native', flavour: 'tsan', timeoutMs: 15 * MINUTE_MS },
  integration: { kind: 'mocha', folder: 'test/integration', testTimeoutMs: 5 * MINUTE_MS, timeoutMs: 40 * MINUTE_MS },
  sim: { kind: 'mocha', folder: 'test/sim', testTimeoutMs: 2 * MINUTE_MS, timeoutMs: 15 * MINUTE_MS },
  sanity: { kind: 'mocha', folder: 'test/sanity', testTimeoutMs: 5 * MINUTE_MS, timeoutMs: 15 * MINUTE_MS },
  kube: {
    kind: 'mocha',
    folder: 'test/kube',
    prepare: { script: 'test/kube/programs/main.ts', timeoutMs: 40 * MINUTE_MS },
    testTimeoutMs: 5 * MINUTE_MS,
    timeoutMs: 30 * MINUTE_MS,
  },
};

const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--unhandled-rejections=strict'];

const ONE_FAILED: Counts = { passed: 0, failed: 1, skipped: 0 };
const reportSchema = z.strictObject({
  passed: z.int(),
  failed: z.int(),
  skipped: z.int(),
  failures: z.array(z.string()),
});

const failedAs = (what: string, before: Counts = NO_COUNTS, failures: readonly string[] = []): Outcome => {
  return { counts: sum(before, ONE_FAILED), failures: [...failures, what] };
};

export async function runSuite(name: string, only: string | undefined): Promise<Outcome> {
  const suite = SUITES[name];
  if (suite === undefined) throw new RangeError(`no suite ${name}`);
  switch (suite.kind) {
    case 'check':
      return (await runChild(['scripts/check.sh'], {}, suite.timeoutMs)).exitCode === 0
        ? { counts: { ...NO_COUNTS, passed: 1 }, failures: [] }
        : failedAs('scripts/check.sh');
    case 'mocha':
      return await runMocha(suite, only);
    case 'native':
      return await runNative(suite);
  }
}

/** The child reports its counts through a file: its output belongs to the reader. */
async function runMocha(suite: MochaSuite, only: string | undefined): Promise<Outcome> {
  const files = globSync(only ?? `${suite.folder}/**/*.test.ts`).sort();
  if (files.length === 0) {
    process.stdout.write(`no tests in ${suite.folder} yet\n`);
    return { counts: NO_COUNTS, failures: [] };
  }
  if (suite.prepare !== undefined) {
    const { script, timeoutMs } = suite.prepare;
    const prepared = await runChild([process.execPath, ...NODE_FLAGS, script], {}, timeoutMs);
    if (prepared.exitCode !== 0) return failedAs(script);
  }
  const folder = mkdtempSync(join(tmpdir(), 'nabu-test-'));
  try {
    const report = join(folder, 'counts.json');
    const command = [
      process.execPath,
      ...NODE_FLAGS,
      'scripts/tests/mocha-run.ts',
      report,
      String(suite.testTimeoutMs),
      ...files,
    ];
    const ended = await runChild(command, {}, suite.timeoutMs);
    const outcome = readReport(report);
    if (outcome === undefined) return failedAs(`${suite.folder} ended without a result`);
    const { counts, failures } = outcome;
    if (ended.timedOut) return failedAs(`${suite.folder} took too long`, counts, failures);
    if (ended.exitCode !== 0 && counts.failed === 0) return failedAs(`${suite.folder} did not end well`, counts);
    return outcome;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(path: string): Outcome | undefined {
  try {
    const { failures, ...counts } = reportSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    return { counts, failures };
  } catch {
    process.stdout.write('run-tests: the suite ended without a result\n');
    return undefined;
  }
}

const BUILD_FOLDERS = { release: 'build/native', asan: 'build/asan', tsan: 'build/tsan' } as const;
const SANITIZER_ENV = {
  ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1',
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1',
};

const ctestSchema = z.object({ tests: z.array(z.object({ name: z.string(), command: z.array(z.string()).min(1) })) });

/** What CMake registered, rather than what lies in the folder: binaries of removed tests stay there. */
function nativeTests(folder: string): { name: string; command: string[] }[] {
  const listing = execFileSync('ctest', ['--test-dir', folder, '--show-only=json-v1'], { encoding: 'utf8' });
  return ctestSchema.parse(JSON.parse(listing)).tests;
}

async function runNative(suite: NativeSuite): Promise<Outcome> {
  const built = await runChild(['scripts/native.sh', suite.flavour], {}, suite.timeoutMs);
  if (built.exitCode !== 0) return failedAs(`the build of ${suite.flavour}`);
  let total = NO_COUNTS;
  const failures: string[] = [];
  for (const { name, command } of nativeTests(BUILD_FOLDERS[suite.flavour])) {
    process.stdout.write(`--- ${name}\n`);
    const ended = await runChild([...command, '--no-colors=true'], SANITIZER_ENV, suite.timeoutMs);
    const counts = parseDoctest(ended.output);
    const crashed = counts === undefined || (ended.exitCode !== 0 && counts.failed === 0);
    if (crashed) process.stdout.write(`run-tests: ${name} ended with ${ended.exitCode} and no clean summary\n`);
    total = sum(total, crashed ? sum(counts ?? NO_COUNTS, ONE_FAILED) : counts);
    if (crashed || counts.failed > 0) failures.push(name);
  }
  return { counts: total, failures };
}
