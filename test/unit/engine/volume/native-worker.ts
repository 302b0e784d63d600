// Runs in a worker thread of native-teardown.test.ts: a volume with a flush and a fetch that nobody will ever answer.
import { parentPort } from 'node:worker_threads';
import { createRing, MAX_IMAGE_BYTES, openNativeVolume } from '../../../../engine/volume/native.ts';

const volumeId = 'aa'.repeat(16);
const slab = new ArrayBuffer(MAX_IMAGE_BYTES + 1024 * 1024);
const frontend = { kind: 'direct', ringFd: createRing(volumeId, 4 * 1024 * 1024) } as const;
const options = { volumeId, sizeBytes: 64 * 1024 * 1024, frontend, readCacheBytes: 0, mapCacheBytes: 1024 * 1024 };
const fetchWanted = Promise.withResolvers<void>();
let fetching = false;
const volume = openNativeVolume(slab, options, (events) => {
  if (!events.some((event) => event.type === 'fetch')) return;
  fetching = true;
  fetchWanted.resolve();
  parentPort?.postMessage('waiting');
});
volume.reapplyRing();
volume.start();
await volume.directWrite(0, 1024 * 1024, MAX_IMAGE_BYTES);
const none = { previousGeneration: 0n, previousIncarnation: 0n, checkpointSequence: 0n };
volume.seal(0, MAX_IMAGE_BYTES, { generation: 1n, incarnation: 1n, sequence: 1n, ...none });
volume.commit(1n);
await volume.directWrite(8192, 4096, MAX_IMAGE_BYTES);
// Given up when the thread ends; nobody is left who could be told.
volume.directFlush().catch(() => undefined);
// The ring may still answer the first reads: only after the commit is applied is a fetch wanted.
while (!fetching) {
  const read = volume.directRead(0, 4096, MAX_IMAGE_BYTES).catch(() => undefined);
  await Promise.race([read, fetchWanted.promise]);
}
