import assert from 'node:assert/strict';
import fc from 'fast-check';
import { deviceNumberOf } from '../../../csi/node/block-device.ts';
import { markerOffset } from '../../../csi/node/format-marker.ts';
import { MountTable, parseMountInfo } from '../../../csi/node/mount-table.ts';
import { type Finding, judge } from '../../../csi/node/orphans.ts';
import type { VolumeRecord } from '../../../csi/ports.ts';
import { volumeId } from '../../../engine/blob/index.ts';

const INFO = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 7:3 / /pods/with\\040space/mount ro,nosuid shared:7 master:2 - ext4 /dev/loop3 rw,errors=remount-ro
31 22 7:3 /sub /pods/other rw - ext4 /dev/loop3 rw
32 22 0:5 /loop4 /pods/raw rw - devtmpfs udev rw,mode=755
33 30 7:5 / /pods/with\\040space/mount rw - xfs /dev/loop5 rw
broken line
`;

describe('mountinfo', () => {
  it('is parsed with its escapes and whatever optional fields there are', () => {
    const mounts = parseMountInfo(INFO);
    assert.equal(mounts.length, 5);
    assert.deepEqual(mounts[1], {
      deviceNumber: '7:3',
      root: '/',
      mountPoint: '/pods/with space/mount',
      options: ['ro', 'nosuid'],
      fsType: 'ext4',
      source: '/dev/loop3',
      superOptions: ['rw', 'errors=remount-ro'],
    });
  });

  it('shows the last of several mounts at one place, and counts them', () => {
    const table = new MountTable(parseMountInfo(INFO));
    assert.equal(table.at('/pods/with space/mount')?.deviceNumber, '7:5');
    assert.equal(table.countAt('/pods/with space/mount'), 2);
    assert.equal(table.at('/pods'), undefined);
  });

  it('shows every place of a device', async () => {
    const found = await new MountTable(parseMountInfo(INFO)).of({ path: '/dev/loop3', number: '7:3' });
    assert.deepEqual(
      found.map((mount) => mount.mountPoint),
      ['/pods/with space/mount', '/pods/other'],
    );
  });
});

describe('device numbers', () => {
  it('come apart as makedev(3) put them together', () => {
    const makedev = (major: bigint, minor: bigint) =>
      (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n);
    const number = fc.bigInt({ min: 0n, max: 0xffffffffn });
    fc.assert(
      fc.property(number, number, (major, minor) => deviceNumberOf(makedev(major, minor)) === `${major}:${minor}`),
    );
  });
});

describe('the format marker', () => {
  it('lies on a block, inside the device, away from its ends and its middle', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 2048n, max: 1n << 34n }), (blocks) => {
        const bytes = blocks * 4096n;
        const offset = BigInt(markerOffset(bytes));
        return offset % 4096n === 0n && offset >= bytes / 8n && offset + 4096n <= bytes / 2n + 4096n;
      }),
    );
  });

  it('avoids the beginnings of block groups, where copies of the superblock lie', () => {
    for (let gib = 1n; gib <= 64n; gib++) {
      assert.ok(markerOffset(gib << 30n) % (128 << 20) >= 16 << 20, `${gib} GiB`);
    }
  });
});

describe('what becomes of a volume with traces on a node', () => {
  const record = (attachedTo: string | null, state = 'ready'): VolumeRecord => ({
    id: volumeId('0'.repeat(32)),
    name: 'v',
    sizeBytes: 1n,
    policy: 'ec:4+2',
    state,
    parameters: {},
    attachment: attachedTo === null ? null : { nodeName: attachedTo, generation: 1n, readOnly: false },
    report: null,
  });
  const finding = (changes: Partial<Finding>): Finding => ({
    volume: record('here'),
    nodeName: 'here',
    isOpen: true,
    mounts: 0,
    hasRecord: true,
    ...changes,
  });

  it('is nothing while it is attached here or mounted', () => {
    assert.equal(judge(finding({})), 'keep');
    assert.equal(judge(finding({ mounts: 1 })), 'keep');
    assert.equal(judge(finding({ volume: record(null), mounts: 1 })), 'keep');
    assert.equal(judge(finding({ volume: record('elsewhere'), mounts: 2 })), 'keep');
  });

  it('is its end when control has it no more', () => {
    for (const volume of [undefined, record(null, 'deleting')]) {
      assert.equal(judge(finding({ volume, mounts: 1 })), 'unmount');
      assert.equal(judge(finding({ volume })), 'close');
      assert.equal(judge(finding({ volume, isOpen: false })), 'forget');
    }
  });

  it('is to be closed when it is open, unused and attached elsewhere or nowhere', () => {
    assert.equal(judge(finding({ volume: record(null) })), 'close');
    assert.equal(judge(finding({ volume: record('elsewhere') })), 'close');
  });

  it('is that its record goes when the record describes nothing', () => {
    assert.equal(judge(finding({ isOpen: false })), 'forget');
  });
});
