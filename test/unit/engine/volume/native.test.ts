import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  closeFd,
  createRing,
  type NativeVolumeOptions,
  openNativeVolume,
  readImageHeader,
} from '../../../../engine/volume/native.ts';
import { MemoryLog } from './memory-log.ts';

const VOLUME_ID = '00112233445566778899aabbccddeeff';
const MIB = 1024 * 1024;

const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * 4096, fill);
const code =
  (...codes: string[]) =>
  (err: unknown): boolean =>
    NabuError.is(err) && codes.includes(err.code);

describe('native volume', () => {
  let ringFd: number;
  let log: MemoryLog;
  const options = (more: Partial<NativeVolumeOptions> = {}): NativeVolumeOptions => ({
    volumeId: VOLUME_ID,
    sizeBytes: 64 * MIB,
    frontend: { kind: 'direct', ringFd },
    readCacheBytes: MIB,
    mapCacheBytes: MIB,
    ...more,
  });
  beforeEach(() => {
    ringFd = createRing(VOLUME_ID, 8 * MIB);
    log = new MemoryLog();
  });
  afterEach(async () => {
    await log.close();
    closeFd(ringFd);
  });

  it('reads zeros where nothing was written and the last bytes where something was', async () => {
    await log.open(options());
    assert.deepEqual(await log.read(8192, 8192), block(0, 2));
    await log.write(8192, block(1));
    await log.write(8192, block(2));
    assert.deepEqual(await log.read(8192, 8192), Buffer.concat([block(2), block(0)]));
    await log.volume.directFlush();
    assert.deepEqual(await log.read(8192, 8192), Buffer.concat([block(2), block(0)]));
  });

  it('answers a flush only when everything before it is committed', async () => {
    await log.open(options());
    log.automatic = false;
    await log.write(0, block(1));
    let flushed = false;
    const flush = log.volume.directFlush().then(() => {
      flushed = true;
    });
    assert.equal(log.seal(), 1);
    await log.read(0, 4096);
    assert.equal(flushed, false);
    assert.equal(log.volume.stats().waitingFlushes, 1);
    log.acknowledge();
    await flush;
    assert.equal(log.volume.stats().waitingFlushes, 0);
  });

  it('gets completed writes back from the ring after the process died without a flush', async () => {
    await log.open(options());
    log.automatic = false;
    await log.write(0, block(1));
    await log.write(4096, block(2));
    await log.volume.directTrim(0, 4096);
    await log.volume.close();
    const again = await log.open(options());
    assert.deepEqual(again, { entries: 3, bytes: 8192 });
    assert.deepEqual(await log.read(0, 8192), Buffer.concat([block(0), block(2)]));
  });

  it('gets flushed writes back from the log when the ring is gone', async () => {
    await log.open(options());
    await log.write(MIB, block(7, 16));
    await log.volume.directFlush();
    await log.volume.close();
    closeFd(ringFd);
    ringFd = createRing(VOLUME_ID, 8 * MIB);
    await log.open(options());
    assert.deepEqual(await log.read(MIB, 16 * 4096), block(7, 16));
  });

  it('holds the same bytes after a checkpoint, cleaning and deletion, and after opening from them', async () => {
    await log.open(options());
    for (let i = 0; i < 40; i++) {
      await log.write((i % 10) * 4096, block(i + 1));
      await log.write((100 + i) * 4096, block(100 + i));
      await log.volume.directFlush();
    }
    const before = log.images.size;
    assert.equal(log.checkpoint(), true);
    assert.ok((await log.clean(100, 0.9)) > 0);
    assert.equal(log.checkpoint(), true);
    assert.ok(log.deleteDead() > 0);
    assert.equal(log.checkpoint(), true);
    assert.ok(log.images.size < before);
    const check = async (): Promise<void> => {
      for (let i = 30; i < 40; i++) assert.deepEqual(await log.read((i % 10) * 4096, 4096), block(i + 1));
      for (let i = 0; i < 40; i++) assert.deepEqual(await log.read((100 + i) * 4096, 4096), block(100 + i));
    };
    await check();
    const stats = log.volume.stats();
    await log.volume.close();
    await log.open(options());
    await check();
    assert.equal(log.volume.stats().liveBlocks, stats.liveBlocks);
  });

  it('refuses what is wrong with a typed error and lives on', async () => {
    await log.open(options());
    const { volume } = log;
    assert.throws(() => volume.commit(5n), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.commit(5 as unknown as bigint), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.fetched(99, 0, 'ok'), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.seal(1, MIB, log.position()), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.seal(0, 4096, log.position()), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.seal(0, 1e12, log.position()), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.directRead(1, 4096, 0), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.directRead(64 * MIB, 4096, 0), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.resize(4096), code('INVALID_ARGUMENT'));
    assert.throws(() => volume.start(), code('FAILED_PRECONDITION'));
    assert.throws(() => volume.nextCheckpointImage(0, MIB, log.position()), code('FAILED_PRECONDITION'));
    assert.throws(() => readImageHeader(log.slab, 0, 4096), code('LOG_IMAGE_INVALID'));
    await assert.rejects(volume.applyImage(0, 4096), code('LOG_IMAGE_INVALID'));
    await log.write(0, block(3));
    await volume.close();
    await volume.close();
    assert.throws(() => volume.stats(), code('FAILED_PRECONDITION'));
  });

  it('refuses a ring of another volume and options out of range', () => {
    const open = (more: Partial<NativeVolumeOptions>): unknown =>
      openNativeVolume(log.slab, options(more), () => undefined);
    assert.throws(() => open({ volumeId: 'ff'.repeat(16) }), code('FAILED_PRECONDITION'));
    assert.throws(() => open({ volumeId: 'zz' }), code('INVALID_ARGUMENT'));
    assert.throws(() => open({ sizeBytes: 1000 }), code('INVALID_ARGUMENT'));
    assert.throws(() => open({ sizeBytes: 2 ** 50 }), code('INVALID_ARGUMENT'));
    assert.throws(() => open({ frontend: { kind: 'direct', ringFd: 0 } }), code('FORMAT_UNKNOWN', 'COMMAND_FAILED'));
    assert.throws(() => createRing(VOLUME_ID, 100), code('INVALID_ARGUMENT'));
  });

  it('rejects what waits when it closes', async () => {
    await log.open(options());
    log.automatic = false;
    await log.write(0, block(1));
    const flush = log.volume.directFlush();
    await Promise.all([assert.rejects(flush, code('ABORTED')), log.volume.close()]);
  });
});
