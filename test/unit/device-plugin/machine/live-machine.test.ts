import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { discover, type Inventory, nodeFiles, type TreeFiles } from '../../../../device-plugin/discovery/index.ts';
import {
  type KernelEvent,
  LiveMachine,
  type LiveMachineOptions,
  type LiveMachineState,
} from '../../../../device-plugin/machine/index.ts';
import { h200 } from '../../../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../../../support/kubelet-double.ts';
import type { MachineDescription } from '../../../support/machine-description.ts';
import { isMarker } from '../../../support/machine-tree.ts';
import { WatchedMachine } from '../../../support/watched-machine.ts';

const BOUND_MS = 10_000;
const PORT = 'sys/class/infiniband/mlx5_0/ports/1';
const FREE = 'sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages';
/** Two of its four PCIe switches: each test discovers it several times. */
const SMALL: MachineDescription = { ...h200, functions: h200.functions.slice(0, 9) };
const PCI_EVENT: KernelEvent = {
  kind: 'device',
  action: 'change',
  devicePath: '/devices/pci0000:15',
  subsystem: 'pci',
};

const portState = ({ hcas }: Inventory): string | undefined => hcas[0]?.ports[0]?.state?.name;

describe('a machine that is watched', function () {
  this.timeout(60_000);
  let watched: WatchedMachine;

  async function start(options: Partial<LiveMachineOptions> = {}): Promise<WatchedMachine> {
    watched = new WatchedMachine(SMALL, options);
    await watched.machine.start();
    // The second discovery reads again what the first did not watch yet.
    await quiet(watched.machine.state.discoveries + 1);
    return watched;
  }

  async function quiet(discoveries: number): Promise<LiveMachineState> {
    const { machine } = watched;
    await eventually(`discovery ${discoveries}`, () => machine.state.discoveries >= discoveries, BOUND_MS);
    return machine.state;
  }

  afterEach(async () => {
    await watched[Symbol.asyncDispose]();
  });

  it('is what discovery finds, and says so until something changes', async () => {
    const { machine, tree, changes } = await start();
    const found = await discover(tree.roots, { signal: AbortSignal.timeout(BOUND_MS), isCharDevice: isMarker });
    assert.deepEqual(machine.inventory, found);
    assert.equal(changes, 1);
  });

  it('has no inventory before it is started', () => {
    watched = new WatchedMachine(SMALL);
    assert.throws(
      () => watched.machine.inventory,
      (err) => NabuError.is(err, 'FAILED_PRECONDITION'),
    );
  });

  it('refuses to start where there is no /sys, and says which path is missing', async () => {
    watched = new WatchedMachine(SMALL);
    const { roots } = watched.tree;
    rmSync(roots.sysfsRoot, { recursive: true });
    const machine = new LiveMachine({ roots, clock: realClock, logger: silentLogger });
    await assert.rejects(machine.start(), (err) => NabuError.is(err, 'FILE_INVALID') && /\/sys/.test(err.message));
  });

  it('looks after an event of the kernel, and is a new object only when it says something else', async () => {
    const { machine, tree, events } = await start();
    const { inventory } = machine;
    events.say(PCI_EVENT);
    await quiet(3);
    assert.equal(machine.inventory, inventory);
    tree.file(`${PORT}/state`, '1: DOWN');
    events.say(PCI_EVENT);
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
    assert.notEqual(machine.inventory, inventory);
    assert.equal(portState(inventory), 'ACTIVE');
    assert.equal(watched.changes, 2);
  });

  it('takes a thousand events at once for a few discoveries, and never misses the last', async () => {
    const { machine, tree, events } = await start();
    const before = machine.state.discoveries;
    for (let i = 0; i < 1000; i++) events.say(PCI_EVENT, PCI_EVENT);
    tree.file(`${PORT}/state`, '1: DOWN');
    events.say(PCI_EVENT);
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
    assert(machine.state.discoveries - before <= 2, `${machine.state.discoveries - before}`);
  });

  it('is not moved by events that say nothing about it', async () => {
    const { machine, events, pulse } = await start();
    const before = machine.state;
    events.say(
      { kind: 'link', action: 'new', name: 'veth1234' },
      { kind: 'device', action: 'add', devicePath: '/devices/virtual/net/veth1234', subsystem: 'net' },
      { kind: 'device', action: 'add', devicePath: '/devices/virtual/net/veth1234/queues/rx-0', subsystem: 'queues' },
    );
    // A look that is told comes after one that they would have led to.
    pulse.finds(`/${FREE}`);
    await eventually('a recount', () => machine.state.recounts === 1, BOUND_MS);
    assert.equal(machine.state.discoveries, before.discoveries);
  });

  it('looks at everything when events were lost, and says so', async () => {
    const { machine, tree, events, logged } = await start();
    tree.file(`${PORT}/state`, '1: DOWN');
    events.say({ kind: 'overflow' });
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
    assert(logged.includes('events of the kernel were lost'));
  });

  it('goes on by looking when the events end, and its state says why', async () => {
    const { machine, tree, events, pulse } = await start();
    assert.equal(machine.state.hasEvents, true);
    events.say({ kind: 'ended', reason: 'Bad file descriptor' });
    assert.equal(machine.state.hasEvents, false);
    assert.deepEqual(machine.state.gaps, ["the kernel's events ended: Bad file descriptor"]);
    tree.file(`${PORT}/state`, '1: DOWN');
    pulse.finds(`/${PORT}/state`);
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
  });

  it('counts the huge pages alone when nothing else has changed', async () => {
    const { machine, tree, pulse } = await start();
    const before = machine.state.discoveries;
    tree.file(FREE, 7);
    tree.file(`${PORT}/rate`, '100 Gb/sec (4X EDR)');
    pulse.finds(`/${FREE}`);
    await eventually('7 are free', () => machine.inventory.hugePages[0]?.free === 7, BOUND_MS);
    assert.equal(machine.inventory.hcas[0]?.ports[0]?.rate?.gigabitsPerSecond, 400);
    assert.equal(machine.state.discoveries, before);
    assert.deepEqual(machine.inventory.findings, []);
  });

  it('keeps what is wrong elsewhere when it counts huge pages, and drops what was wrong with them', async () => {
    const { machine, tree, pulse } = await start();
    tree.file(FREE, 'many');
    tree.file(`${PORT}/rate`, 'fast');
    pulse.finds(`/${PORT}/state`);
    const wrong = (): string[] => machine.inventory.findings.map(({ path }) => path);
    const rate = `/${PORT}/rate`;
    await eventually('both are found', () => wrong().length === 2, BOUND_MS, wrong);
    tree.file(FREE, 7);
    pulse.finds(`/${FREE}`);
    await eventually('7 are free', () => machine.inventory.hugePages[0]?.free === 7, BOUND_MS);
    assert.deepEqual(wrong(), [rate]);
  });

  it('never reads a port that hangs, and has all the rest; it reads it again when it answers', async () => {
    const hangs = new Set<string>();
    const asked: string[] = [];
    const files: TreeFiles = {
      ...nodeFiles,
      bytes: (path, limit) => {
        asked.push(path);
        return hangs.has(path.slice(path.indexOf('/infiniband/')))
          ? new Promise(() => undefined)
          : nodeFiles.bytes(path, limit);
      },
    };
    const { machine, pulse } = await start({ discovery: { isCharDevice: isMarker, files } });
    const port = '/infiniband/mlx5_0/ports/1';
    for (const name of ['state', 'phys_state', 'rate']) hangs.add(`${port}/${name}`);
    asked.length = 0;
    pulse.hangs(`/${PORT}/state`);
    await eventually('its state is unknown', () => portState(machine.inventory) === undefined, BOUND_MS);
    assert.deepEqual(
      asked.filter((path) => hangs.has(path.slice(path.indexOf('/infiniband/')))),
      [],
    );
    assert.deepEqual(
      machine.inventory.findings.map(({ path, reason }) => [path, reason]),
      ['phys_state', 'rate', 'state'].map((name) => [`/${PORT}/${name}`, 'does not answer']),
    );
    assert.deepEqual(machine.state.hanging, [`/${PORT}/state`]);
    assert.equal(machine.inventory.hcas[1]?.ports[0]?.state?.name, 'ACTIVE');
    hangs.clear();
    pulse.hangs();
    await eventually('it answers', () => portState(machine.inventory) === 'ACTIVE', BOUND_MS);
    assert.deepEqual(machine.inventory.findings, []);
    assert.deepEqual(machine.state.hanging, []);
  });

  it('reads again what no look had found to hang, as soon as the read returns', async () => {
    const late = Promise.withResolvers<Buffer>();
    const files: TreeFiles = {
      ...nodeFiles,
      bytes: (path, limit) => (path.endsWith('/mlx5_0/fw_ver') ? late.promise : nodeFiles.bytes(path, limit)),
    };
    const { machine } = await start({ discovery: { isCharDevice: isMarker, files } });
    assert.equal(machine.inventory.hcas[0]?.firmware, null);
    late.resolve(Buffer.from('28.43.1014\n'));
    await eventually('it is read', () => machine.inventory.hcas[0]?.firmware === '28.43.1014', BOUND_MS);
    assert.deepEqual(machine.inventory.findings, []);
  });

  it('forgets what hangs with the device that it was of', async () => {
    const { machine, tree, events, pulse } = await start();
    pulse.hangs(`/${PORT}/state`);
    await eventually('its state is unknown', () => portState(machine.inventory) === undefined, BOUND_MS);
    tree.remove('sys/class/infiniband/mlx5_0');
    events.say(PCI_EVENT);
    await eventually('it is gone', () => machine.inventory.hcas.length === 1, BOUND_MS);
    assert.deepEqual(machine.state.hanging, []);
  });

  it('looks at what is new once more after it has begun to watch it', async () => {
    const { machine, tree, pulse, events } = await start();
    const { discoveries } = machine.state;
    tree.file('sys/class/infiniband/mlx5_9/ports/1/state', '4: ACTIVE');
    events.say(PCI_EVENT);
    await quiet(discoveries + 2);
    assert(pulse.probes.some(({ path }) => path.endsWith('/mlx5_9/ports/1/state')));
  });

  it('reads again a poll after it found another machine: what it read may have been over before the next look', async () => {
    const { machine, tree, events, pulse } = await start({ pollMs: 100 });
    tree.file(`${PORT}/state`, '1: DOWN');
    events.say(PCI_EVENT);
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
    tree.file(`${PORT}/state`, '4: ACTIVE');
    await eventually('it is up', () => portState(machine.inventory) === 'ACTIVE', BOUND_MS);
    tree.file(FREE, 7);
    pulse.finds(`/${FREE}`);
    await eventually('7 are free', () => machine.inventory.hugePages[0]?.free === 7, BOUND_MS);
    tree.file(FREE, 8);
    await eventually('8 are free', () => machine.inventory.hugePages[0]?.free === 8, BOUND_MS);
  });

  it('reads everything again after a while though nothing says so', async () => {
    const { machine, tree } = await start({ discoverEveryMs: 200 });
    tree.file(`${PORT}/rate`, '100 Gb/sec (4X EDR)');
    const rate = (): number | undefined => machine.inventory.hcas[0]?.ports[0]?.rate?.gigabitsPerSecond;
    await eventually('the rate is known', () => rate() === 100, BOUND_MS);
  });

  it('reads all symbols of the kernel once, as they stay while it runs', async () => {
    let reads = 0;
    const files: TreeFiles = {
      ...nodeFiles,
      holds: async (path, text, limit) => {
        reads++;
        return await nodeFiles.holds(path, text, limit);
      },
    };
    const { machine, events } = await start({ discovery: { isCharDevice: isMarker, files } });
    events.say(PCI_EVENT);
    await quiet(3);
    assert.equal(reads, 1);
    assert.equal(machine.inventory.p2pDma.kernel.isBuiltIn, true);
  });

  it('keeps what it knew while the machine cannot be read, and tries again', async () => {
    let isBroken = false;
    const files: TreeFiles = {
      ...nodeFiles,
      names: async (path, limit) => {
        // An error without a code is no answer of a file system: discovery passes it on.
        if (isBroken) throw new RangeError('broken');
        return await nodeFiles.names(path, limit);
      },
    };
    const { machine, tree, events, logged } = await start({ discovery: { isCharDevice: isMarker, files } });
    const { inventory } = machine;
    isBroken = true;
    tree.file(`${PORT}/state`, '1: DOWN');
    events.say(PCI_EVENT);
    const message = 'the machine cannot be read: what was known stands';
    await eventually('it has failed', () => logged.includes(message), BOUND_MS);
    assert.equal(machine.inventory, inventory);
    isBroken = false;
    await eventually('it is down', () => portState(machine.inventory) === 'DOWN', BOUND_MS);
  });

  it('ends at once, in the midst of a discovery too, and closes what it opened', async () => {
    const { machine, events, pulse } = await start();
    events.say(PCI_EVENT);
    await machine.close();
    assert.deepEqual([events.isClosed, pulse.isClosed], [true, true]);
    const { discoveries } = machine.state;
    events.say(PCI_EVENT);
    await machine.close();
    assert.equal(machine.state.discoveries, discoveries);
  });
});
