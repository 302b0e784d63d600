import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../../../common/errors/index.ts';
import { volumeAddon } from '../../../engine/volume/native.ts';
import { KEEPER, KeeperRig, MIB, run, VOLUME_ID, waitFor } from './keeper-rig.ts';

describe('keeper and native volume', function () {
  this.timeout(120_000);
  let rig: KeeperRig;
  beforeEach(() => {
    rig = new KeeperRig();
  });
  afterEach(() => rig.stop());

  it('keeps a mounted ext4 whole through kills of its server', async () => {
    const device = await rig.start();
    await run('mkfs.ext4', ['-q', '-F', device]);
    await rig.mount(device);
    const hashes = new Map<string, string>();
    const kills = 6;
    for (let round = 1; round <= kills; round++) {
      const path = join(rig.mountPath, `file-${round}`);
      const content = randomBytes(3 * MIB + round * 1111);
      hashes.set(path, createHash('sha256').update(content).digest('hex'));
      const fd = openSync(path, 'w');
      writeSync(fd, content, 0, MIB);
      await rig.killServer();
      const rest = writeFile(`${path}.more`, content);
      writeSync(fd, content, MIB);
      fsyncSync(fd);
      closeSync(fd);
      await rest;
      hashes.set(`${path}.more`, createHash('sha256').update(content).digest('hex'));
      await rig.serverStarted(round + 1);
    }
    await rig.unmount();
    await run('e2fsck', ['-fn', device]);
    await rig.mount(device);
    for (const [path, hash] of hashes) {
      assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), hash, path);
    }
    await rig.unmount();
    const status = await rig.client?.ping();
    assert.equal(status?.serverStarts, kills + 1);
  });

  it('refuses messages of a version that it does not know, and says which it speaks', async () => {
    await rig.start();
    const { promise, resolve } = Promise.withResolvers<string>();
    const raw = new (volumeAddon().KeeperConnection)(rig.socket, resolve, () => undefined);
    raw.send(JSON.stringify({ id: 1, version: 2, op: 'REMOVE', volumeId: VOLUME_ID, force: true }));
    const answer: unknown = JSON.parse(await promise);
    raw.close();
    assert.deepEqual(answer, { id: 1, ok: false, reason: 'protocol version 2, this keeper speaks 1' });
    assert.equal((await rig.client?.ping())?.volumes, 1);
  });

  it('refuses to end or to let go of a volume that is in use, and leaves nothing when it ends', async () => {
    const device = await rig.start();
    await run('mkfs.ext4', ['-q', '-F', device]);
    await rig.mount(device);
    const client = rig.client;
    assert.ok(client);
    const refused = (err: unknown): boolean => NabuError.is(err, 'KEEPER_REFUSED');
    await assert.rejects(client.shutdown({ force: false }), refused);
    await assert.rejects(client.remove(VOLUME_ID, { force: false, timeoutMs: 10_000 }), refused);
    rig.keeper?.kill('SIGTERM');
    await writeFile(join(rig.mountPath, 'still'), 'works');
    await rig.unmount();
    await client.remove(VOLUME_ID, { force: false, timeoutMs: 10_000 });
    assert.deepEqual(await client.list(), []);
    const mounts = readFileSync('/proc/self/mounts', 'utf8');
    assert.ok(!mounts.includes(rig.folder));
  });

  it('gives its mounts and devices back by --cleanup when the keeper is killed', async () => {
    const device = await rig.start();
    const keeper = rig.keeper;
    assert.ok(keeper);
    const exited = once(keeper, 'exit');
    const server = (await rig.client?.ping())?.serverPid ?? 0;
    keeper.kill('SIGKILL');
    await exited;
    // Only the keeper is gone: the device goes on.
    await run('dd', [`if=${device}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']);
    await run(KEEPER, ['--cleanup', rig.state]);
    await waitFor('the end of the server', () => {
      try {
        return readFileSync(`/proc/${server}/stat`, 'utf8').includes(') Z ') ? true : undefined;
      } catch {
        return true;
      }
    });
    assert.ok(!existsSync(`/sys/block/${device.slice('/dev/'.length)}/loop/backing_file`));
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(rig.folder));
  });
});
