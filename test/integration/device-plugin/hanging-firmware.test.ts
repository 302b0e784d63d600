import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import type { Inventory } from '../../../device-plugin/discovery/index.ts';
import { LiveMachine } from '../../../device-plugin/machine/index.ts';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { canHang, HangingFile } from '../../support/hanging-file.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { isMarker, MachineTree } from '../../support/machine-tree.ts';
import { skip } from '../../support/skip.ts';

const BOUND_MS = 20_000;
/** What asks the firmware of a port. */
const ASKING = ['state', 'phys_state', 'rate'];

const portOf = (hca: number): string => `sys/class/infiniband/mlx5_${hca}/ports/1`;

describe('firmware that hangs, in the kernel, on a recorded H200 node', function () {
  this.timeout(120_000);
  let tree: MachineTree;
  let machine: LiveMachine;
  let hanging: HangingFile[];

  before(function () {
    if (!canHang()) skip(this, 'right to mount FUSE');
  });

  beforeEach(() => {
    tree = new MachineTree(h200);
    hanging = [];
    machine = new LiveMachine({
      roots: tree.roots,
      clock: realClock,
      logger: silentLogger,
      discovery: { isCharDevice: isMarker },
    });
  });

  afterEach(async () => {
    for (const one of hanging) one[Symbol.dispose]();
    await machine?.close();
    tree?.[Symbol.dispose]();
  });

  function hang(...hcas: readonly number[]): void {
    const paths = hcas.flatMap((hca) => ASKING.map((name) => tree.at(`${portOf(hca)}/${name}`)));
    for (const path of paths) hanging.push(new HangingFile(path));
  }

  function letGo(): void {
    for (const one of hanging.splice(0)) one[Symbol.dispose]();
  }

  const states = ({ hcas }: Inventory): (string | undefined)[] => hcas.map(({ ports }) => ports[0]?.state?.name);
  const until = (what: string, isSo: () => boolean): Promise<void> =>
    eventually(what, isSo, BOUND_MS, () => states(machine.inventory));
  const isUnknown = (hca: number): boolean => states(machine.inventory)[hca] === undefined;

  it('of four HCAs from the start on, costs the start little and the two others nothing', async () => {
    hang(0, 1, 2, 3);
    const startMs = performance.now();
    await machine.start();
    const tookMs = performance.now() - startMs;
    assert.deepEqual(states(machine.inventory), [undefined, undefined, undefined, undefined, 'ACTIVE', 'DOWN']);
    assert.deepEqual([...new Set(machine.inventory.findings.map(({ reason }) => reason))], ['does not answer']);
    assert(tookMs < BOUND_MS, `${tookMs}`);
    tree.file(`${portOf(4)}/state`, '2: INIT');
    await until('the fifth is still looked at', () => states(machine.inventory)[4] === 'INIT');
    letGo();
    await until('all answer', () => !states(machine.inventory).includes(undefined));
    assert.deepEqual([machine.inventory.findings, machine.state.hanging], [[], []]);
  });

  it('of all six at once, in the midst of whatever the plugin does, leaves everything else readable', async () => {
    await machine.start();
    tree.file(`${portOf(0)}/state`, '1: DOWN'); // so that a discovery is likely to be under way
    hang(0, 1, 2, 3, 4, 5);
    await until('all are unknown', () => [0, 1, 2, 3, 4, 5].every(isUnknown));
    const free = 'sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages';
    tree.file(free, 7);
    await until('7 are free', () => machine.inventory.hugePages[0]?.free === 7);
    assert.equal(machine.inventory.nvme[0]?.controller?.state, 'live');
    assert.equal(machine.inventory.hcas[0]?.firmware, '28.43.1014');
    letGo();
    await until('all answer', () => ![0, 1, 2, 3, 4, 5].some(isUnknown));
  });

  it('and of a device that is pulled while it does, is forgotten', async () => {
    await machine.start();
    hang(1);
    await until('it is unknown', () => isUnknown(1));
    tree.remove('sys/class/infiniband/mlx5_1');
    await until('it is gone', () => machine.inventory.hcas.length === 5);
    assert.deepEqual(machine.state.hanging, []);
    assert(existsSync(tree.at('sys')));
  });

  it('does not keep the plugin from ending', async () => {
    await machine.start();
    hang(0, 1);
    await until('they are unknown', () => isUnknown(0) && isUnknown(1));
    const startMs = performance.now();
    await machine.close();
    assert(performance.now() - startMs < BOUND_MS);
  });
});
