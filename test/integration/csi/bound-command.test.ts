import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { Deadline } from '../../../common/concurrency/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { runBound } from '../../../csi/node/bound-command.ts';

const PROBE_MS = 10_000;

async function isRunning(argument: string): Promise<boolean> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command === `sleep\0${argument}\0`) return true;
  }
  return false;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + PROBE_MS; !(await condition()); await pause(5)) {
    if (performance.now() > endMs) throw new RangeError('the state never came');
  }
}

function deadline(): Deadline {
  return new Deadline({ clock: realClock, operation: 'a command', timeoutMs: 120_000 });
}

describe('commands of the CSI plugin', () => {
  it('die with it, so that none runs into what the next plugin does', async () => {
    const seconds = `60.${process.pid}`; // unlike any other sleep
    const script = `const { runBound } = await import(${JSON.stringify(new URL('../../../csi/node/bound-command.ts', import.meta.url).href)});
      const { Deadline } = await import(${JSON.stringify(new URL('../../../common/concurrency/index.ts', import.meta.url).href)});
      const { realClock } = await import(${JSON.stringify(new URL('../../../common/ports/index.ts', import.meta.url).href)});
      const deadline = new Deadline({ clock: realClock, operation: 'x', timeoutMs: 60000 });
      await runBound(['sleep', ${JSON.stringify(seconds)}], { deadline, logger: { warn() {} } });`;
    const plugin = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: 'ignore',
    });
    try {
      await until(() => isRunning(seconds));
    } finally {
      const exited = once(plugin, 'exit');
      plugin.kill('SIGKILL');
      await exited;
    }
    await until(async () => !(await isRunning(seconds)));
  });

  it('are named in their errors, which say whether they are installed', async () => {
    using limit = deadline();
    const options = { deadline: limit, logger: silentLogger };
    await assert.rejects(runBound(['no-such-program'], options), { code: 'DRIVER_UNAVAILABLE' });
    await assert.rejects(runBound(['false'], options), (err: Error) => err.message.startsWith('false failed'));
    assert.equal((await runBound(['echo', '-n', '--', 'x'], options)).stdout, '-- x');
  });
});
