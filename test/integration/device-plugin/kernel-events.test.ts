import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { LiveMachine } from '../../../device-plugin/machine/index.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { skip } from '../../support/skip.ts';

const CHILD = join(import.meta.dirname, '../../support/namespace-child.ts');
const BOUND_MS = 20_000;
const HOUR_MS = 3_600_000;
const THIS_MACHINE = { sysfsRoot: '/sys', devRoot: '/dev', procRoot: '/proc' };

/** The uevent file of some PCI function; writing to it makes the kernel speak (lib/kobject_uevent.c, uevent_store). */
function provocable(): string | undefined {
  const folder = '/sys/bus/pci/devices';
  const functions = existsSync(folder) ? readdirSync(folder) : [];
  return functions
    .map((address) => `${folder}/${address}/uevent`)
    .find((path) => {
      try {
        writeFileSync(path, 'change');
        return true;
      } catch {
        return false;
      }
    });
}

async function inNamespace(context: Mocha.Context, flags: readonly string[], what: string): Promise<unknown> {
  const run = promisify(execFile);
  try {
    await run('unshare', [...flags, 'true']);
  } catch {
    skip(context, `right to make a namespace (unshare ${flags.join(' ')})`);
  }
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', CHILD, what];
  const { stdout } = await run('unshare', [...flags, ...node], { timeout: BOUND_MS });
  return JSON.parse(stdout);
}

describe("the kernel's own events", function () {
  this.timeout(60_000);

  it('lead to a look at the machine within a second, with no poll to help', async function () {
    const uevent = provocable();
    if (uevent === undefined) skip(this, 'PCI function whose uevents may be provoked');
    const options = { roots: THIS_MACHINE, clock: realClock, logger: silentLogger };
    const machine = new LiveMachine({ ...options, pollMs: HOUR_MS, discoverEveryMs: HOUR_MS });
    await machine.start();
    try {
      await eventually('the machine is known', () => machine.state.discoveries >= 2, BOUND_MS);
      assert.deepEqual([machine.state.hasEvents, machine.state.gaps], [true, []]);
      const before = machine.state.discoveries;
      writeFileSync(uevent, 'change');
      await eventually('it is looked at', () => machine.state.discoveries > before, BOUND_MS);
    } finally {
      await machine.close();
    }
  });

  it('tell of network interfaces that come and go in the namespace of the process', async function () {
    const heard = await inNamespace(this, ['--net'], 'links');
    assert(Array.isArray(heard));
    for (const name of ['nabu-a', 'nabu-b']) {
      assert(heard.some((event) => event.action === 'new' && event.name === name));
      assert(heard.some((event) => event.action === 'removed' && event.name === name));
    }
  });

  it('do not reach a process in a user namespace of its own, and it says so', async function () {
    const state = await inNamespace(this, ['--user', '--map-root-user'], 'state');
    assert.deepEqual(state, {
      hasEvents: false,
      gaps: ['this process is in a user namespace of its own: no uevent reaches it'],
    });
  });
});
