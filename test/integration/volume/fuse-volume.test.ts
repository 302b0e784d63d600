import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { realClock } from '../../../common/ports/index.ts';
import { KeeperRig, MIB, run, waitFor } from './keeper-rig.ts';

/** Reads with the page cache out of the way: dd, because Node has no aligned buffers. */
async function readRaw(device: string, offsetMiB: number, lengthMiB: number): Promise<Buffer> {
  const args = [`if=${device}`, 'bs=1M', `skip=${offsetMiB}`, `count=${lengthMiB}`, 'iflag=direct', 'status=none'];
  const { stdout } = await run('dd', args, { encoding: 'buffer', maxBuffer: 64 * MIB });
  return stdout;
}

async function writeRaw(device: string, offsetMiB: number, content: Buffer): Promise<void> {
  const file = await open(device, 'r+');
  try {
    await file.write(content, 0, content.length, offsetMiB * MIB);
    await file.sync();
  } finally {
    await file.close();
  }
}

describe('a volume behind FUSE and a loop device', function () {
  this.timeout(120_000);
  let rig: KeeperRig;
  beforeEach(() => {
    rig = new KeeperRig();
  });
  afterEach(() => rig.stop());

  it('reads zeros where it was discarded or zeroed, and the rest as it was', async () => {
    const device = await rig.start();
    const content = randomBytes(16 * MIB);
    await writeRaw(device, 0, content);
    await run('blkdiscard', ['-o', `${2 * MIB}`, '-l', `${3 * MIB}`, device]);
    await run('blkdiscard', ['-z', '-o', `${8 * MIB}`, '-l', `${MIB}`, device]);
    await run('blkdiscard', ['-o', `${12 * MIB + 4096}`, '-l', '8192', device]);
    content.fill(0, 2 * MIB, 5 * MIB);
    content.fill(0, 8 * MIB, 9 * MIB);
    content.fill(0, 12 * MIB + 4096, 12 * MIB + 3 * 4096);
    assert.ok(content.equals(await readRaw(device, 0, 16)));
    await rig.killServer();
    await rig.serverStarted(2);
    assert.ok(content.equals(await readRaw(device, 0, 16)));
  });

  it('carries xfs through discards and a kill', async () => {
    const device = await rig.start(512 * MIB);
    await run('mkfs.xfs', ['-q', device]);
    await rig.mount(device);
    const content = randomBytes(5 * MIB);
    await writeFile(join(rig.mountPath, 'kept'), content);
    await writeFile(join(rig.mountPath, 'gone'), randomBytes(20 * MIB));
    await run('sync', ['-f', rig.mountPath]);
    await rm(join(rig.mountPath, 'gone'));
    await run('fstrim', [rig.mountPath]);
    await rig.killServer();
    await rig.serverStarted(2);
    await rig.unmount();
    await run('xfs_repair', ['-n', device]);
    await rig.mount(device);
    assert.ok(content.equals(readFileSync(join(rig.mountPath, 'kept'))));
    await rig.unmount();
  });

  it('grows while it is mounted', async () => {
    const device = await rig.start(320 * MIB);
    await run('mkfs.xfs', ['-q', device]); // ext4 would need CAP_SYS_RESOURCE to grow online
    await rig.mount(device);
    await writeFile(join(rig.folder, 'size'), `${512 * MIB}`);
    process.kill((await rig.client?.ping())?.serverPid ?? 0, 'SIGUSR2');
    await waitFor('the new size', () => existsSync(join(rig.folder, 'resized')) || undefined);
    assert.equal((await run('blockdev', ['--getsize64', device])).stdout.trim(), `${512 * MIB}`);
    await run('xfs_growfs', [rig.mountPath]);
    const content = randomBytes(330 * MIB);
    await writeFile(join(rig.mountPath, 'large'), content);
    await rig.unmount();
    await run('xfs_repair', ['-n', device]);
  });

  it('waits without limit for durability, and ends in an error after ioTimeout when one is set', async () => {
    const device = await rig.start(64 * MIB, 0);
    await writeFile(join(rig.folder, 'stall'), '');
    let done = false;
    const write = writeRaw(device, 0, randomBytes(MIB)).then(() => {
      done = true;
    });
    await realClock.sleep(500);
    assert.equal(done, false);
    await rm(join(rig.folder, 'stall'));
    await write;
    await rig.stop();

    rig = new KeeperRig();
    const limited = await rig.start(64 * MIB, 300);
    await writeFile(join(rig.folder, 'stall'), '');
    await assert.rejects(writeRaw(limited, 0, randomBytes(MIB)), { code: 'EIO' });
    await rm(join(rig.folder, 'stall'));
    await writeRaw(limited, 0, randomBytes(MIB));
  });

  it('loses no completed write to kills under a verifying writer', async () => {
    const device = await rig.start(128 * MIB);
    const shape = ['--rw=randwrite', '--bsrange=4k-128k', '--iodepth=16', '--size=64M', '--loops=3', '--fsync=64'];
    const verify = ['--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--random_generator=tausworthe64'];
    const base = ['--name=verify', `--filename=${device}`, '--direct=1', '--ioengine=libaio', '--rate_iops=1500'];
    let running = true;
    const fio = run('fio', [...base, ...shape, ...verify]).finally(() => {
      running = false;
    });
    let kills = 0;
    while (running && kills < 8) {
      await realClock.sleep(200 + 37 * kills);
      if (!running) break;
      await rig.killServer();
      kills++;
      await rig.serverStarted(kills + 1);
    }
    await fio;
    assert.ok(kills >= 3, `only ${kills} kills`);
  });
});
