// Runs test files under mocha and writes the counts, and what failed, as JSON.
// usage: mocha-run.ts REPORT_FILE TEST_TIMEOUT_MS FILE...
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

const LINGER_MS = 10_000;
const MESSAGE_CHARS = 800;
const [report = '', testTimeoutMs = '', ...files] = process.argv.slice(2);
const mocha = new Mocha({
  timeout: Number(testTimeoutMs),
  slow: 1000,
  checkLeaks: true,
  forbidOnly: true,
  color: false,
});
for (const file of files) mocha.addFile(file);
await mocha.loadFilesAsync();
const failed = await new Promise<number>((resolve) => {
  const runner = mocha.run(resolve);
  const told: string[] = [];
  runner.on('fail', (test, error) => {
    const message = String(Reflect.get(Object(error), 'message') ?? error).replaceAll(/\s*\n\s*/g, ' | ');
    told.push(`${test.fullTitle()}: ${message.slice(0, MESSAGE_CHARS)}`);
  });
  // Failing hooks count as failures without being tests: take mocha's own sum.
  runner.once('end', () => {
    const { passes, failures, pending } = runner.stats ?? { passes: 0, failures: 1, pending: 0 };
    writeFileSync(report, JSON.stringify({ passed: passes, failed: failures, skipped: pending, failures: told }));
  });
});
process.exitCode = failed === 0 ? 0 : 1;
// A test that leaves something open would keep the suite from ending: say what, and fail.
setTimeout(() => {
  process.stdout.write(`mocha-run: still open after the last test: ${process.getActiveResourcesInfo().join(', ')}\n`);
  process.exit(1);
}, LINGER_MS).unref();
