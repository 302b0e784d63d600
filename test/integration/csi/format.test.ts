import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { markerOffset, setFormatMarker } from '../../../csi/node/format-marker.ts';
import { parseMountInfo } from '../../../csi/node/mount-table.ts';
import { fails } from '../../support/csi/fails.ts';
import { PluginFixture } from '../../support/csi/plugin-fixture.ts';
import { MIB, Mode, mounted, VolumeLife } from '../../support/csi/volume-life.ts';

describe('formatting by the CSI node service', () => {
  let fixture: PluginFixture;

  beforeEach(async () => {
    fixture = await PluginFixture.start();
  });

  afterEach(async () => {
    await fixture.destroy();
  });

  it('formats a blank device alone', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    const image = fixture.host.imagePath(life.id);
    const places = { 'at the end': Number(64n * MIB) - 5, 'at the beginning': 100_000 };
    for (const [what, offset] of Object.entries(places)) {
      writeFileSync(image, '');
      execFileSync('truncate', ['-s', String(64n * MIB), image]);
      writeAt(image, offset);
      const before = execFileSync('sha256sum', [image]).toString();
      await fails(life.stage(), 'VOLUME_NOT_BLANK');
      await life.unstage();
      assert.equal(execFileSync('sha256sum', [image]).toString(), before, `the byte ${what} cost the others`);
    }
  });

  it('does not format over another file system or a partition table', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    await life.stage();
    await life.unstage();
    await fails(life.stage({ volumeCapability: mounted('xfs') }), 'VOLUME_NOT_BLANK');
    await life.unstage();
    await life.stage();
    await life.end();
    const table = await VolumeLife.create(fixture, mounted());
    await table.attach();
    const firstSector = Buffer.alloc(512);
    firstSector.set([0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0], 446); // one Linux partition
    firstSector.set([0x55, 0xaa], 510);
    writeFileSync(fixture.host.imagePath(table.id), firstSector);
    await fails(table.stage(), 'VOLUME_NOT_BLANK');
  });

  it('formats again when a crash cut the first formatting short, and only then', async () => {
    const life = await VolumeLife.create(fixture, mounted());
    await life.attach();
    const image = fixture.host.imagePath(life.id);
    // As a crash leaves it: bytes that are no file system, and the marker of this volume.
    writeFileSync(image, '');
    execFileSync('truncate', ['-s', String(64n * MIB), image]);
    writeAt(image, 70_000);
    const file = await open(image, 'r+');
    await setFormatMarker(file, 64n * MIB, 'f'.repeat(32));
    await file.close();
    await fails(life.stage(), 'VOLUME_NOT_BLANK'); // the marker of another volume proves nothing
    await life.unstage();
    const again = await open(image, 'r+');
    await setFormatMarker(again, 64n * MIB, life.id);
    await again.close();
    await life.stage();
    const target = fixture.path('target');
    await life.publish(target);
    await writeFile(join(target, 'x'), 'x');
    await life.unpublish(target);
    await life.unstage();
    const block4k = Buffer.alloc(4096);
    const look = await open(image, 'r');
    await look.read(block4k, 0, 4096, markerOffset(64n * MIB));
    await look.close();
    assert.ok(!block4k.toString('latin1').includes('NABUFMT1'), 'the marker is gone');
    await life.stage();
    await life.publish(target);
    assert.equal(await readFile(join(target, 'x'), 'utf8'), 'x');
    await life.end(target);
  });

  it('passes mkfs and mount options on', async () => {
    const parameters = { mkfsOptions: '-L models -i 65536', mountOptions: 'noatime', fsType: 'ext4' };
    const life = await VolumeLife.create(fixture, mounted('ext4', Mode.SINGLE_NODE_WRITER, ['nodev']), { parameters });
    const target = await life.mount();
    const mount = parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1')).find(
      (one) => one.mountPoint === target,
    );
    assert.ok(mount?.options.includes('noatime') && mount.options.includes('nodev'), mount?.options.join(','));
    assert.match(execFileSync('blkid', ['-p', '-s', 'LABEL', mount?.source ?? '']).toString(), /models/);
    await life.end(target);
  });
});

function writeAt(path: string, offset: number): void {
  execFileSync('dd', [`of=${path}`, 'bs=1', `seek=${offset}`, 'count=1', 'conv=notrunc', 'status=none'], {
    input: 'x',
  });
}
