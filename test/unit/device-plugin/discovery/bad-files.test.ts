import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, symlinkSync } from 'node:fs';
import { NabuError } from '../../../../common/errors/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import {
  type DiscoveryOptions,
  discover,
  type Inventory,
  StuckReads,
  type TreeFiles,
} from '../../../../device-plugin/discovery/index.ts';
import { nodeFiles } from '../../../../device-plugin/discovery/tree-files.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

const RATE = 'class/infiniband/mlx5_2/ports/1/rate';
const HCA_FILES = ['node_guid', 'fw_ver', 'ports/1/state', 'ports/1/rate'];
const options = (): DiscoveryOptions => ({ signal: AbortSignal.timeout(15_000), isCharDevice: isMarker });

function fails(code: string): Promise<never> {
  return Promise.reject(Object.assign(new Error(code), { code }));
}

/** What is found on the whole machine. */
let whole: Inventory | undefined;

async function lookAtWholeMachine(): Promise<void> {
  using tree = new MachineTree(MACHINES['h200-8gpu']);
  whole = await discover(tree.roots, options());
}

/** Permissions do not bind root: it becomes somebody else for the time of the work. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return await work();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

/** Everything but the rate of mlx5_2 is as on the whole machine. */
function assertOnlyRateIsLost(found: Inventory, reason: string | RegExp): void {
  assert(whole !== undefined);
  assert.equal(found.findings.length, 1, JSON.stringify(found.findings));
  const [finding] = found.findings;
  assert.equal(finding?.path, `/sys/${RATE}`);
  if (typeof reason === 'string') assert.equal(finding?.reason, reason);
  else assert.match(finding?.reason ?? '', reason);
  const hcas = whole.hcas.map((hca) =>
    hca.name === 'mlx5_2' ? { ...hca, ports: hca.ports.map((port) => ({ ...port, rate: null })) } : hca,
  );
  assert.deepEqual({ ...found, findings: [] }, { ...whole, hcas });
}

describe('a file in the tree that cannot be used is a finding, and the rest of the inventory stands', () => {
  before(lookAtWholeMachine);

  const kinds: readonly [string, (tree: MachineTree, path: string) => void, string | RegExp][] = [
    ['empty', (tree, path) => tree.file(path, Buffer.alloc(0)), /^is empty where a rate such as/],
    ['10 MiB long', (tree, path) => tree.file(path, Buffer.alloc(10 << 20, '4')), 'has more than 65536 bytes'],
    ['binary', (tree, path) => tree.file(path, Buffer.from([0x7f, 0x45, 0, 0xff])), /binary data/],
    ['not UTF-8', (tree, path) => tree.file(path, Buffer.from([0x34, 0xc3, 0x28])), /binary data/],
    ['of another format', (tree, path) => tree.file(path, 'fast'), /^holds "fast" where a rate such as/],
    ['a directory', (tree, path) => tree.folder(path), 'is a directory where a file is expected'],
    ['a FIFO', (tree, path) => execFileSync('mkfifo', [tree.at(path)]), /^is empty/],
    ['a link to itself', (tree, path) => tree.link(path, path), 'its links go in a circle'],
    ['a link out of the tree', (tree, path) => symlinkSync('/etc/hostname', tree.at(path)), 'its links leave the tree'],
    [
      'a link above the root',
      (tree, path) => symlinkSync(`${'../'.repeat(40)}etc/hostname`, tree.at(path)),
      'its links leave the tree',
    ],
    ['missing', () => undefined, 'is missing'],
  ];
  for (const [kind, put, reason] of kinds) {
    it(`${kind}`, async () => {
      using tree = new MachineTree(MACHINES['h200-8gpu']);
      tree.remove(`sys/${RATE}`);
      put(tree, `sys/${RATE}`);
      assertOnlyRateIsLost(await discover(tree.roots, options()), reason);
    });
  }

  it('not permitted', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    chmodSync(tree.root, 0o755);
    chmodSync(tree.at(`sys/${RATE}`), 0);
    const found = await asNobody(() => discover(tree.roots, options()));
    assertOnlyRateIsLost(found, 'cannot be read: EACCES');
  });

  for (const [code, reason] of [
    ['EACCES', 'cannot be read: EACCES'],
    ['EIO', 'cannot be read: EIO'],
    ['ENOENT', 'is missing'],
    ['ENODEV', 'went away while it was read'],
  ] as const) {
    it(`there when looked for, and ${code} when read`, async () => {
      using tree = new MachineTree(MACHINES['h200-8gpu']);
      const files: TreeFiles = {
        ...nodeFiles,
        bytes: (path, limit) =>
          path.endsWith('infiniband/mlx5_2/ports/1/rate') ? fails(code) : nodeFiles.bytes(path, limit),
      };
      assertOnlyRateIsLost(await discover(tree.roots, { ...options(), files }), reason);
    });
  }
});

describe('device discovery', () => {
  before(lookAtWholeMachine);

  it('gets round a read that hangs, and does not ask for that file again while it does', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    const clock = new SimClock();
    const stuck = new StuckReads();
    const hung = Promise.withResolvers<Buffer>();
    let reads = 0;
    const files: TreeFiles = {
      ...nodeFiles,
      bytes(path, limit) {
        if (!path.endsWith('infiniband/mlx5_2/ports/1/rate')) return nodeFiles.bytes(path, limit);
        reads++;
        setImmediate(() => clock.advance(1000));
        return hung.promise;
      },
    };
    const hanging = { ...options(), files, clock, stuck };
    assertOnlyRateIsLost(await discover(tree.roots, hanging), 'did not answer within 1000 ms');
    assertOnlyRateIsLost(await discover(tree.roots, hanging), 'an earlier read of it has not returned yet');
    assert.equal(reads, 1);
    hung.resolve(Buffer.from('400 Gb/sec (4X NDR)\n'));
    await hung.promise;
    const after = await discover(tree.roots, { ...options(), stuck });
    assert.deepEqual(after.findings, []);
  });

  it('stops asking a machine on which two reads hang, and says which', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    const clock = new SimClock();
    let reads = 0;
    const files: TreeFiles = {
      ...nodeFiles,
      bytes(path, limit) {
        if (!path.endsWith('/ports/1/rate')) return nodeFiles.bytes(path, limit);
        reads++;
        setImmediate(() => clock.advance(1000));
        return new Promise(() => undefined);
      },
    };
    const { hcas, findings } = await discover(tree.roots, { ...options(), files, clock });
    assert.equal(reads, 2, 'two of the four threads of the pool are all that a driver gets');
    assert.equal(hcas.length, 6, 'what was listed before is there still');
    assert(findings.some(({ reason }) => /^not read: .*mlx5_0.* and .*mlx5_1.* have not returned yet$/.test(reason)));
  });

  it('ends at its signal, also in the middle of a read that hangs', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    const controller = new AbortController();
    const reason = NabuError.of('TIMEOUT', { operation: 'a test', timeoutMs: 1 });
    const files: TreeFiles = {
      ...nodeFiles,
      bytes: () => {
        setImmediate(() => controller.abort(reason));
        return new Promise(() => undefined);
      },
    };
    const discovery = discover(tree.roots, { signal: controller.signal, files, clock: realClock });
    await assert.rejects(discovery, (err) => NabuError.is(err, 'TIMEOUT'));
  });

  it('finds nothing, and no fault, where there is nothing at all but a kernel', async () => {
    using tree = new MachineTree();
    tree.file('proc/sys/kernel/osrelease', '6.12.0');
    const found = await discover(tree.roots, options());
    assert.deepEqual([found.hcas, found.gpus, found.nvme, found.hugePages, found.findings], [[], [], [], [], []]);
  });

  it('finds nothing and does not throw where the roots are missing', async () => {
    const nowhere = { sysfsRoot: '/nonexistent/sys', devRoot: '/nonexistent/dev', procRoot: '/nonexistent/proc' };
    const { hcas, findings } = await discover(nowhere, options());
    assert.deepEqual(hcas, []);
    assert.deepEqual(findings, [{ path: '/proc/sys/kernel/osrelease', reason: 'is missing' }]);
  });

  it('keeps an HCA whose every file is garbage, and every other one whole', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    for (const name of HCA_FILES) tree.file(`sys/class/infiniband/mlx5_1/${name}`, Buffer.from([0, 1, 2]));
    const { hcas, findings } = await discover(tree.roots, options());
    assert.deepEqual(
      hcas.filter(({ name }) => name !== 'mlx5_1'),
      whole?.hcas.filter(({ name }) => name !== 'mlx5_1'),
    );
    assert.equal(hcas.find(({ name }) => name === 'mlx5_1')?.nodeGuid, null);
    assert.equal(findings.length, HCA_FILES.length);
  });

  it('says of a device file that is missing, no device, or another device', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    tree.remove('dev/infiniband/uverbs1');
    tree.remove('dev/infiniband/uverbs2');
    tree.folder('dev/infiniband/uverbs2');
    const { hcas, findings } = await discover(tree.roots, {
      ...options(),
      files: {
        ...nodeFiles,
        entry: async (path) =>
          path.endsWith('dev/infiniband/uverbs3')
            ? { kind: 'char-device', device: { major: 231, minor: 7 } }
            : await nodeFiles.entry(path),
      },
      isCharDevice: (entry) => isMarker(entry) || entry.kind === 'char-device',
    });
    assert.deepEqual(findings, [
      { path: '/dev/infiniband/uverbs1', reason: 'is missing' },
      { path: '/dev/infiniband/uverbs2', reason: 'is not a character device' },
      { path: '/dev/infiniband/uverbs3', reason: 'is device 231:7, the kernel says 231:195' },
    ]);
    assert.deepEqual(
      hcas.map(({ uverbs }) => uverbs[0]?.isPresent),
      [true, false, false, false, true, true],
    );
  });

  it('tells a character device by its mode when it is not told otherwise', async () => {
    using tree = new MachineTree(MACHINES['roce-only']);
    const { findings } = await discover(tree.roots, { signal: AbortSignal.timeout(15_000) });
    assert(findings.length > 0);
    for (const { path, reason } of findings) {
      assert.match(path, /^\/dev\/infiniband\//);
      assert.equal(reason, 'is not a character device');
    }
    const entry = await nodeFiles.entry('/dev/null');
    assert.deepEqual(entry, { kind: 'char-device', device: { major: 1, minor: 3 } });
  });

  it('takes no device file that lies outside of /dev', async () => {
    using tree = new MachineTree(MACHINES['roce-only']);
    tree.file('sys/class/infiniband_verbs/uverbs0/uevent', 'MAJOR=231\nMINOR=192\nDEVNAME=../etc/shadow');
    const { hcas, findings } = await discover(tree.roots, options());
    assert.deepEqual(hcas[0]?.uverbs, []);
    assert.match(findings[0]?.reason ?? '', /where a uevent with MAJOR, MINOR and DEVNAME is expected$/);
  });

  it('keeps at most 1,000 findings and counts the rest', async () => {
    using tree = new MachineTree();
    tree.file('proc/sys/kernel/osrelease', '6.12.0');
    for (let i = 0; i < 400; i++)
      tree.folder(`sys/bus/pci/devices/0000:${(i & 0xff).toString(16).padStart(2, '0')}:0${i >> 8}.0`);
    const { findings } = await discover(tree.roots, options());
    assert.equal(findings.length, 1001);
    assert.deepEqual(findings.at(-1), { path: '/', reason: '200 more findings' });
  });
});
