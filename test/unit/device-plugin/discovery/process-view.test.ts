import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { discoverProcess } from '../../../../device-plugin/discovery/index.ts';
import { memoryLock, mountInfo } from '../../../../device-plugin/discovery/process-view.ts';

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max locked memory         8388608              unlimited            bytes
Max address space         unlimited            unlimited            bytes`;

describe('what a process sees mounted', () => {
  let root = '';
  const signal = AbortSignal.timeout(60_000);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-process-view-'));
    for (const folder of ['sys/dev/block', 'dev', 'proc/4711']) mkdirSync(join(root, folder), { recursive: true });
    symlinkSync('4711', join(root, 'proc/self'));
    writeFileSync(join(root, 'proc/4711/limits'), LIMITS);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const roots = () => ({ sysfsRoot: join(root, 'sys'), devRoot: join(root, 'dev'), procRoot: join(root, 'proc') });
  const mounts = (...rows: string[]): void => writeFileSync(join(root, 'proc/4711/mountinfo'), `${rows.join('\n')}\n`);
  /** A disk with one partition, as the kernel shows them. */
  const disk = (name: string, blockBytes: number): void => {
    const at = join(root, `sys/devices/${name}`);
    mkdirSync(join(at, 'queue'), { recursive: true });
    mkdirSync(join(at, `${name}p1`));
    writeFileSync(join(at, 'queue/logical_block_size'), `${blockBytes}\n`);
    symlinkSync(`../../devices/${name}`, join(root, 'sys/dev/block/259:0'));
    symlinkSync(`../../devices/${name}/${name}p1`, join(root, 'sys/dev/block/259:1'));
  };

  it('has its options once each, and the block size of the disk under it or under its partition', async () => {
    disk('nvme0n1', 4096);
    mounts(
      '22 1 259:1 / / rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw,data=ordered',
      '23 22 259:0 / /data rw - xfs /dev/nvme0n1 rw',
      '24 22 0:21 / /models ro,relatime - nfs4 store:/models ro,proto=rdma',
    );
    const view = await discoverProcess(roots(), { signal });
    assert.deepEqual(view.findings, []);
    assert.deepEqual(view.memoryLock, { softBytes: 8388608, hardBytes: null });
    assert.deepEqual(view.mounts, [
      {
        mountPoint: '/',
        fsType: 'ext4',
        source: '/dev/nvme0n1p1',
        options: ['rw', 'noatime', 'data=ordered'],
        block: { name: 'nvme0n1p1', logicalBlockBytes: 4096 },
      },
      {
        mountPoint: '/data',
        fsType: 'xfs',
        source: '/dev/nvme0n1',
        options: ['rw'],
        block: { name: 'nvme0n1', logicalBlockBytes: 4096 },
      },
      {
        mountPoint: '/models',
        fsType: 'nfs4',
        source: 'store:/models',
        options: ['ro', 'relatime', 'proto=rdma'],
        block: null,
      },
    ]);
  });

  it('has blanks and line ends in its paths as they are', () => {
    const [mount] =
      mountInfo.parse('1 0 8:1 / /a\\040b\\012c\\134d rw master:1 propagate_from:2 - ext4 /dev/my\\040disk rw') ?? [];
    assert.equal(mount?.mountPoint, '/a b\nc\\d');
    assert.equal(mount?.source, '/dev/my disk');
  });

  it('is a finding where the table or the limits are not what they should be, and nothing else is lost', async () => {
    mounts('22 1 259:1 / / rw - ext4 /dev/sda rw', 'nonsense');
    const view = await discoverProcess(roots(), { signal });
    assert.deepEqual(view.mounts, []);
    assert.deepEqual(view.findings, [{ path: '/proc/self/mountinfo', reason: 'does not hold lines of mountinfo' }]);
    assert.notEqual(view.memoryLock, null);
    await rm(join(root, 'proc/4711/limits'));
    mounts('22 1 8:1 / / rw - ext4 /dev/sda rw');
    const other = await discoverProcess(roots(), { signal });
    assert.equal(other.memoryLock, null);
    assert.deepEqual(other.findings, [{ path: '/proc/self/limits', reason: 'is missing' }]);
    assert.equal(other.mounts[0]?.block, null);
  });

  it('may be thousands of mounts', async () => {
    mounts(
      ...Array.from({ length: 5000 }, (_, i) => `${i} 1 0:${i} / /pods/${'x'.repeat(200)}/${i} rw - tmpfs tmpfs rw`),
    );
    const view = await discoverProcess(roots(), { signal });
    assert.equal(view.mounts.length, 5000);
    assert.deepEqual(view.findings, []);
  });

  it('reads any text without failing', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 400 }), (text) => {
        mountInfo.parse(text);
        memoryLock.parse(text);
      }),
    );
  });
});
