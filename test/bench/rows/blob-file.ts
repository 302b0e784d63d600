import { Cluster } from '../cluster.ts';
import { dropCaches } from '../cold-caches.ts';
import { Minio } from '../peers/minio.ts';
import { median, type Provider, row } from '../provider.ts';

const BLOB_BYTES = 4 << 20;
const IN_FLIGHT = 16;
const BLOBS = 128;
const WARM_BLOBS = 256;
const ROUNDS = 5;
const DEVICE_BYTES = 2 * 2 ** 30;

/** Durable on six devices of one disk, and back from it with nothing cached. */
export const provider: Provider = {
  rows: ['blob.put.file', 'blob.get.file'],
  async *measure(bench) {
    const minio = await Minio.start(bench);
    const cluster = await Cluster.start(bench, { driver: 'uring', deviceSizeBytes: DEVICE_BYTES });
    const load = await cluster.load('ec:4+2', BLOB_BYTES, IN_FLIGHT);
    const ours = { put: [] as number[], get: [] as number[] };
    const theirs = { put: [] as number[], get: [] as number[] };
    bench.progress('blob.file: warming up');
    await load.warmUp();
    await load.run({ op: 'put', series: 'warm', count: WARM_BLOBS, inFlight: IN_FLIGHT });
    await load.run({ op: 'get', series: 'warm', count: WARM_BLOBS, inFlight: IN_FLIGHT });
    const minioLoad = { bucket: 'warm', sizeBytes: BLOB_BYTES, count: BLOBS, inFlight: IN_FLIGHT };
    await minio.run({ ...minioLoad, op: 'put' });
    for (let round = 0; round < ROUNDS; round++) {
      bench.progress(`blob.file: round ${round + 1} of ${ROUNDS}`);
      for (const op of ['put', 'get'] as const) {
        await dropCaches(bench.scope);
        theirs[op].push(await minio.run({ ...minioLoad, op, bucket: `round-${round}` }));
        await dropCaches(bench.scope);
        const request = { op, series: `round-${round}`, count: BLOBS, inFlight: IN_FLIGHT };
        ours[op].push((await load.run(request)).gbPerSecond);
      }
    }
    for (const op of ['put', 'get'] as const) {
      yield row(
        `blob.${op}.file`,
        'GB/s',
        median(ours[op]),
        median(theirs[op]),
        `4+2, objects of 4 MiB, ${IN_FLIGHT} in flight, six stor-node processes on files of one disk, ` +
          `${op === 'put' ? 'durable' : 'caches dropped before, checksums verified'}, median of ${ROUNDS} interleaved rounds ` +
          `of ${BLOBS}; peer: MinIO, six drives on the same disk, 2 parity, its Go client, unsigned payload, no TLS`,
      );
    }
  },
};
