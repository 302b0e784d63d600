import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { identifyProcess } from '../../../../common/fs/index.ts';
import { type LogFields, type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { type CommandOptions, runCommand } from '../../../../common/process/index.ts';

describe('runCommand', () => {
  let logged: LogFields[];
  let deadlines: Deadline[];

  beforeEach(() => {
    logged = [];
    deadlines = [];
  });
  afterEach(() => {
    for (const deadline of deadlines) deadline[Symbol.dispose]();
  });

  function options(more: Partial<CommandOptions> & { timeoutMs?: number } = {}): CommandOptions {
    const { timeoutMs = 10_000, ...rest } = more;
    const deadline = new Deadline({ clock: realClock, operation: 'the command', timeoutMs });
    deadlines.push(deadline);
    const logger: Logger = { ...silentLogger, warn: (_, fields = {}) => void logged.push(fields) };
    return { deadline, logger, ...rest };
  }

  it('gives what a program wrote, and feeds it its input', async () => {
    const result = await runCommand(['sh', '-c', 'cat; echo err >&2'], options({ input: 'in' }));
    assert.deepEqual(result, { exitCode: 0, stdout: 'in', stderr: 'err\n' });
  });

  it('passes arguments as they are: no shell reads them', async () => {
    const { stdout } = await runCommand(['printf', '%s', '$(id) ; `ls` "x'], options());
    assert.equal(stdout, '$(id) ; `ls` "x');
  });

  it('keeps what a failing program said for the log', async () => {
    await assert.rejects(runCommand(['sh', '-c', 'echo /secret/path >&2; exit 3'], options()), (err) => {
      assert(NabuError.is(err, 'COMMAND_FAILED'));
      assert.equal(err.fields.exitCode, 3);
      assert.doesNotMatch(JSON.stringify(err), /secret/);
      return true;
    });
    assert.match(String(logged[0]?.stderr), /secret/);
  });

  it('takes exit statuses that are answers', async () => {
    assert.equal((await runCommand(['sh', '-c', 'exit 2'], options({ okExitCodes: [2] }))).exitCode, 2);
  });

  it('names a program that is not installed', async () => {
    await assert.rejects(
      runCommand(['nabu-no-such-program'], options()),
      (err) => NabuError.is(err, 'DRIVER_UNAVAILABLE') && /nabu-no-such-program/.test(err.message),
    );
  });

  it('kills the program and its children at the deadline', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-run-'));
    try {
      const path = join(folder, 'pid');
      const running = runCommand(['sh', '-c', `sleep 60 & echo $! > ${path}; wait`], options({ timeoutMs: 500 }));
      await assert.rejects(running, (err) => NabuError.is(err, 'TIMEOUT'));
      const grandchild = Number(await readFile(path, 'utf8'));
      assert(grandchild > 0);
      // SIGKILL is on its way: the process may still be seen for an instant.
      while ((await identifyProcess(grandchild)) !== undefined) await realClock.sleep(1);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('cuts output at the limit without blocking the program', async () => {
    const { stdout } = await runCommand(['sh', '-c', 'head -c 3000000 /dev/zero'], options({ maxOutputBytes: 1000 }));
    assert.equal(stdout.length, 1000);
  });

  it('says so when a signal ended the program', async () => {
    await assert.rejects(
      runCommand(['sh', '-c', 'kill -9 $$'], options()),
      (err) => NabuError.is(err, 'COMMAND_FAILED') && /SIGKILL/.test(err.message),
    );
  });

  it('does not start anything after the deadline', async () => {
    const late = options({ timeoutMs: 0 });
    while (!late.deadline.expired) await realClock.sleep(1);
    await assert.rejects(runCommand(['true'], late), (err) => NabuError.is(err, 'TIMEOUT'));
  });
});
