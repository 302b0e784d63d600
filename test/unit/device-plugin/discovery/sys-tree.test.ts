import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { realClock } from '../../../../common/ports/index.ts';
import { discover, StuckReads } from '../../../../device-plugin/discovery/index.ts';
import { READ_LIMIT_BYTES, SysTree } from '../../../../device-plugin/discovery/sys-tree.ts';
import { nodeFiles, type TreeFiles } from '../../../../device-plugin/discovery/tree-files.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

function sysOf(tree: MachineTree, files: TreeFiles = nodeFiles): SysTree {
  const { sysfsRoot: root } = tree.roots;
  const signal = AbortSignal.timeout(15_000);
  return new SysTree({ root, name: '/sys', files, clock: realClock, stuck: new StuckReads(), signal });
}

describe('the reader of a tree', () => {
  it('follows links to folders and to files, and says where they lead', async () => {
    using tree = new MachineTree();
    tree.file('sys/devices/a/rate', '7');
    tree.link('sys/class/x/a', 'sys/devices/a');
    tree.link('sys/class/x/rate', 'sys/class/x/a/rate');
    const sys = sysOf(tree);
    assert.deepEqual(await sys.text('class/x/a/rate'), { ok: true, value: '7' });
    assert.deepEqual(await sys.text('class/x/rate'), { ok: true, value: '7' });
    assert.deepEqual(await sys.resolve('class/x/rate'), { ok: true, value: 'devices/a/rate' });
    assert.deepEqual(await sys.names('class/x'), { ok: true, value: ['a', 'rate'] });
  });

  it('follows as many links as the kernel does, and not one more', async () => {
    using tree = new MachineTree();
    tree.file('sys/link0', '7');
    for (let i = 1; i <= 41; i++) tree.link(`sys/link${i}`, `sys/link${i - 1}`);
    const sys = sysOf(tree);
    assert.deepEqual(await sys.text('link40'), { ok: true, value: '7' });
    const beyond = await sys.text('link41');
    assert.equal(beyond.ok ? '' : beyond.reason, 'its links go in a circle');
  });

  it('goes round no circle of folders', async () => {
    using tree = new MachineTree();
    tree.link('sys/a/next', 'sys/b');
    tree.link('sys/b/next', 'sys/a');
    tree.link('sys/c', 'sys/d');
    tree.link('sys/d', 'sys/c');
    const sys = sysOf(tree);
    assert.deepEqual(await sys.resolve('a/next/next/next'), { ok: true, value: 'b' });
    const circle = await sys.names('c/anything');
    assert.equal(circle.ok ? '' : circle.reason, 'its links go in a circle');
  });

  it('never leaves its root, wherever links point', async () => {
    using tree = new MachineTree();
    tree.file('secret', 'x');
    symlinkSync('../secret', tree.at('sys/up'));
    symlinkSync(tree.at('secret'), tree.at('sys/absolute'));
    symlinkSync('..', tree.at('sys/parent'));
    const sys = sysOf(tree);
    for (const path of ['up', 'absolute', 'parent/secret', '../secret', 'a/../../secret']) {
      const text = await sys.text(path);
      assert.equal(text.ok, false, path);
    }
  });

  it('takes a file at the limit whole and refuses one that is longer', async () => {
    using tree = new MachineTree();
    tree.file('sys/full', Buffer.alloc(READ_LIMIT_BYTES, 'a'));
    tree.file('sys/over', Buffer.alloc(READ_LIMIT_BYTES + 1, 'a'));
    const sys = sysOf(tree);
    const full = await sys.text('full');
    assert.equal(full.ok ? full.value.length : 0, READ_LIMIT_BYTES);
    assert.equal((await sys.text('over')).ok, false);
  });

  it('refuses a folder of more entries than any has', async () => {
    using tree = new MachineTree();
    tree.folder('sys/class');
    const files: TreeFiles = {
      ...nodeFiles,
      names: (_, limit) => Promise.resolve(Array.from({ length: limit + 1 }, (_, index) => `${index}`)),
    };
    const names = await sysOf(tree, files).names('class');
    assert.equal(names.ok ? '' : names.reason, 'has more than 16384 entries');
  });

  it('finds a text that lies across two reads, and none beyond the limit', async () => {
    using tree = new MachineTree();
    for (const offset of [0, 4090, 4096, 4096 + 65_530, 200_000]) {
      const bytes = Buffer.alloc(300_000, '.');
      bytes.write('the text', offset);
      tree.file('sys/table', bytes);
      const sys = sysOf(tree);
      assert.deepEqual(await sys.holds('table', 'the text', 1 << 20), { ok: true, value: true }, `at ${offset}`);
      assert.deepEqual(await sys.holds('table', 'the text', offset + 7), { ok: true, value: false }, `at ${offset}`);
    }
  });
});

describe('peer-to-peer DMA of a kernel', () => {
  it('is told by its symbols when its configuration is no gzip file, and that is a finding', async () => {
    using tree = new MachineTree(MACHINES['p2pdma-only']);
    tree.file('proc/config.gz', Buffer.from('CONFIG_PCI_P2PDMA=y\n'));
    const { p2pDma, findings } = await discover(tree.roots, {
      signal: AbortSignal.timeout(15_000),
      isCharDevice: isMarker,
    });
    assert.deepEqual(p2pDma.kernel, { isBuiltIn: true, evidence: '/proc/kallsyms: p2pdma_pgmap_ops' });
    assert.deepEqual(findings, [{ path: '/proc/config.gz', reason: 'is not a gzip file of a bearable size' }]);
  });

  it('is unknown where neither is there', async () => {
    using tree = new MachineTree(MACHINES['p2pdma-only']);
    tree.remove('proc/kallsyms');
    const { p2pDma, findings } = await discover(tree.roots, {
      signal: AbortSignal.timeout(15_000),
      isCharDevice: isMarker,
    });
    assert.deepEqual(p2pDma.kernel, { isBuiltIn: null, evidence: null });
    assert.deepEqual(findings, []);
  });
});
