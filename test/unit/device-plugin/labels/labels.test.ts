import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import { discover, type Inventory } from '../../../../device-plugin/discovery/index.ts';
import { FeatureFile, nodeLabels } from '../../../../device-plugin/labels/index.ts';
import { labelValue } from '../../../../device-plugin/labels/label-value.ts';
import { MACHINES, type MachineName } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

async function recorded(name: MachineName): Promise<Inventory> {
  using tree = new MachineTree(MACHINES[name]);
  return await discover(tree.roots, { isCharDevice: isMarker, signal: new AbortController().signal });
}

const shown = (machine: Inventory, versions?: readonly string[]): Record<string, string> =>
  Object.fromEntries(nodeLabels(machine, versions));

describe('the labels of a node', () => {
  it('say what each recorded machine can be chosen by', async () => {
    const pages = { 'nabustore.io/hugepages-2Mi': 'true' };
    assert.deepEqual(shown(await recorded('h200-8gpu'), ['1.9', '1.13']), {
      'nabustore.io/cufile.version': '1.13',
      'nabustore.io/dpu': 'BlueField-3',
      'nabustore.io/gds.mode': 'nvidia-fs',
      'nabustore.io/hugepages-1Gi': 'true',
      ...pages,
      'nabustore.io/nvidia-fs.version': '2.25.7',
      'nabustore.io/nvme.count': '4',
      'nabustore.io/rdma.count': '6',
      'nabustore.io/rdma.link-layer': 'Ethernet_InfiniBand',
      'nabustore.io/rdma.rate-gbps': '400',
    });
    assert.deepEqual(shown(await recorded('storage-32nvme')), {
      ...pages,
      'nabustore.io/nvme.count': '32',
      'nabustore.io/nvme.vfio-count': '4',
      'nabustore.io/rdma.count': '2',
      'nabustore.io/rdma.link-layer': 'InfiniBand',
      'nabustore.io/rdma.rate-gbps': '400',
    });
    assert.deepEqual(shown(await recorded('roce-only')), {
      ...pages,
      'nabustore.io/rdma.count': '2',
      'nabustore.io/rdma.link-layer': 'Ethernet',
      'nabustore.io/rdma.rate-gbps': '100',
    });
    assert.deepEqual(shown(await recorded('p2pdma-only')), {
      'nabustore.io/gds.mode': 'p2pdma',
      'nabustore.io/nvme.count': '2',
      'nabustore.io/rdma.count': '1',
      'nabustore.io/rdma.link-layer': 'InfiniBand',
    });
    assert.deepEqual(shown(await recorded('vm-empty')), {});
  });

  it('have values that Kubernetes takes, whatever a machine says', () => {
    const valid = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const value = labelValue(text);
        return value === undefined || valid.test(value);
      }),
    );
    assert.equal(labelValue('2.25.7 (debug)'), '2.25.7_debug');
    assert.equal(labelValue(' .-'), undefined);
  });
});

describe('the feature file', () => {
  let folder: string;
  const path = (): string => join(folder, 'features.d', 'nabustore');
  const text = (): string => readFileSync(path(), 'utf8');

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nabu-labels-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const make = (clock = realClock): FeatureFile =>
    new FeatureFile({ folder: join(folder, 'features.d'), clock, logger: silentLogger });

  it('holds one line for each label, readable by everybody, and nothing else lies beside it', async () => {
    const file = make();
    file.update(new Map([['nabustore.io/gds.mode', 'p2pdma']]));
    await file.close({ remove: false });
    assert.equal(text(), '# Written by the device plugin of NabuStore.\nnabustore.io/gds.mode=p2pdma\n');
    assert.equal(statSync(path()).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(join(folder, 'features.d')), ['nabustore']);
  });

  it('goes with the process when asked to', async () => {
    const file = make();
    file.update(new Map([['a', 'b']]));
    await file.close({ remove: true });
    assert.deepEqual(readdirSync(join(folder, 'features.d')), []);
  });

  it('is written at once, then at most every ten seconds, the newest labels last', async () => {
    const clock = new SimClock();
    const file = make(clock);
    const written = async (): Promise<string> => {
      await file.settled();
      return text();
    };
    file.update(new Map([['a', '1']]));
    assert.match(await written(), /a=1/);
    for (const value of ['2', '3', '4']) file.update(new Map([['a', value]]));
    assert.match(await written(), /a=1/);
    await clock.advance(10_000);
    assert.match(await written(), /a=4/);
    await clock.advance(10_000);
    assert.equal(clock.pendingTimers, 0, 'nothing runs while nothing changes');
    await file.close({ remove: false });
  });

  it('comes when its folder can be had, without being asked again, and takes away what a killed process left', async () => {
    const clock = new SimClock();
    writeFileSync(join(folder, 'features.d'), 'in the way');
    const file = make(clock);
    file.update(new Map([['a', '1']]));
    await file.settled();
    rmSync(join(folder, 'features.d'));
    await clock.advance(10_000);
    await file.settled();
    assert.match(text(), /a=1/);
    await file.close({ remove: false });

    const left = join(folder, 'features.d', '.nabustore.00000000-0000-4000-8000-000000000000.tmp');
    writeFileSync(left, 'half a li');
    const next = make();
    next.update(new Map([['a', '1']]));
    await next.close({ remove: false });
    assert.deepEqual(readdirSync(join(folder, 'features.d')), ['nabustore']);
  });
});
