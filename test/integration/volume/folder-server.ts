// A volume server in small: the native core over images that are files of a folder (they survive this process, as they would on
// storage nodes). usage: folder-server.ts SOCKET FOLDER VOLUME_ID SIZE_BYTES IO_TIMEOUT_MS
// While FOLDER/stall exists nothing becomes durable. SIGUSR2: the volume takes the size that FOLDER/size says.
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { realClock } from '../../../common/ports/index.ts';
import { KeeperClient } from '../../../engine/volume/keeper-client.ts';
import {
  type ImagePosition,
  MAX_IMAGE_BYTES,
  openNativeVolume,
  readImageHeader,
  type VolumeEvent,
} from '../../../engine/volume/native.ts';

const [socket = '', folder = '', volumeId = '', size = '0', ioTimeoutMs = '0'] = process.argv.slice(2);
const FETCH_AT = MAX_IMAGE_BYTES;
const SEAL_DELAY_MS = 20;
const IMAGES_PER_CHECKPOINT = 50n;
const slab = new ArrayBuffer(4 * MAX_IMAGE_BYTES);
const bytes = Buffer.from(slab);
const images = join(folder, 'images');
mkdirSync(images, { recursive: true });

let sequence = 0n;
let checkpointSequence = 0n;
const nameOf = (n: bigint): string => join(images, n.toString().padStart(16, '0'));
const opened = new Map<bigint, number>();

function position(): ImagePosition {
  sequence += 1n;
  const none = { previousGeneration: 0n, previousIncarnation: 0n };
  return { generation: 1n, incarnation: 1n, sequence, checkpointSequence, ...none };
}

function put(length: number): void {
  writeFileSync(`${folder}/next`, bytes.subarray(0, length));
  renameSync(`${folder}/next`, nameOf(sequence));
  volume.commit(sequence);
}

function seal(): void {
  if (existsSync(`${folder}/stall`)) {
    setTimeout(seal, SEAL_DELAY_MS);
    return;
  }
  while (true) {
    const sealed = volume.seal(0, MAX_IMAGE_BYTES, position());
    if (sealed === null) {
      sequence -= 1n;
      break;
    }
    put(sealed.length);
  }
  if (sequence - volume.stats().checkpointSequence > IMAGES_PER_CHECKPOINT && volume.beginCheckpoint()) {
    for (let last = false; !last; ) {
      const image = volume.nextCheckpointImage(0, MAX_IMAGE_BYTES, position());
      last = image.last;
      if (last) checkpointSequence = sequence;
      put(image.length);
    }
  }
}

function answer(event: Extract<VolumeEvent, { type: 'fetch' }>): void {
  let fd = opened.get(event.sequence);
  if (fd === undefined) {
    fd = openSync(nameOf(event.sequence), 'r');
    opened.set(event.sequence, fd);
  }
  readSync(fd, bytes, FETCH_AT, event.count * 4096, event.block * 4096);
  volume.fetched(event.id, FETCH_AT, 'ok');
}

let armed = false;
function handle(events: VolumeEvent[]): void {
  for (const event of events) {
    if (event.type === 'fetch') answer(event);
    else if (event.type === 'seal-wanted' && event.reason !== 'first') seal();
    else if (event.type === 'seal-wanted' && !armed) {
      armed = true;
      setTimeout(() => {
        armed = false;
        seal();
        if (volume.watchWrites() > 0) handle([{ type: 'seal-wanted', reason: 'first', pendingBytes: 0 }]);
      }, SEAL_DELAY_MS);
    } else if (event.type === 'frontend-closed') process.exit(0);
  }
}

const keeper = KeeperClient.connect(socket, { clock: realClock });
const known = (await keeper.list()).some((v) => v.volumeId === volumeId);
const kept = known
  ? await keeper.get(volumeId)
  : await keeper.add({ volumeId, sizeBytes: Number(size), ringBytes: 32 * 1024 * 1024, meta: { test: true } });
const volume = openNativeVolume(
  slab,
  {
    volumeId,
    sizeBytes: kept.sizeBytes,
    frontend: { kind: 'fuse', fuseFd: kept.fuseFd, ringFd: kept.ringFd },
    readCacheBytes: 16 * 1024 * 1024,
    mapCacheBytes: 4 * 1024 * 1024,
    ioTimeoutMs: Number(ioTimeoutMs),
  },
  handle,
);
kept.close();

const stored = existsSync(images) ? readdirSync(images).sort() : [];
let covered = 0n;
for (const name of [...stored].reverse()) {
  const image = readFileSync(join(images, name));
  image.copy(bytes);
  if (!readImageHeader(slab, 0, image.length).hasRoot) continue;
  covered = (await volume.loadRoot(0, image.length)).coveredSequence;
  checkpointSequence = BigInt(name);
  break;
}
for (const name of stored) {
  if (BigInt(name) <= covered) continue;
  const image = readFileSync(join(images, name));
  image.copy(bytes);
  await volume.applyImage(0, image.length);
}
sequence = BigInt(stored.at(-1) ?? '0');
const again = volume.reapplyRing();
volume.start();
const device = await keeper.attachLoop(volumeId, { readOnly: false, timeoutMs: 10_000 });
writeFileSync(`${folder}/started`, `${device} ${process.pid} replayed ${stored.length} ring ${again.entries}\n`, {
  flag: 'a',
});
process.on('SIGUSR2', () => {
  volume.resize(Number(readFileSync(`${folder}/size`, 'utf8')));
  keeper.resizeLoop(volumeId, 10_000).then(() => writeFileSync(`${folder}/resized`, ''));
});
process.on('SIGTERM', () => process.exit(0));
