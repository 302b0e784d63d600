import { Cluster } from '../cluster.ts';
import { FanOut } from '../peers/fan-out.ts';
import { median, type Provider, row } from '../provider.ts';

const BLOB_BYTES = 1 << 20;
const [K, M] = [4, 2];
const KEYS = 64;
/** V8 compiles a path for good after a thousand or two passes; a storage node makes that many in its first second. */
const WARM_WRITES = 1_000;
const WARM_READS = 3_000;
const BLOBS = 250;
const ROUNDS = 7;
const DEVICE_BYTES = 2 ** 30;

/** One blob at a time: what an application waits for. */
export const provider: Provider = {
  rows: ['path.read.1MiB', 'path.write.1MiB'],
  async *measure(bench) {
    const cluster = await Cluster.start(bench, { driver: 'memory', deviceSizeBytes: DEVICE_BYTES });
    const load = await cluster.load(`ec:${K}+${M}`, BLOB_BYTES, 1);
    const pieceBytes = BLOB_BYTES / K;
    bench.progress('path: warming up');
    await load.warmUp();
    await load.run({ op: 'put', series: 'warm', count: WARM_WRITES, inFlight: 1 });
    for (const op of ['write', 'read'] as const) {
      const name = `path.${op}.1MiB`;
      if (!bench.wants(name)) continue;
      const pieces = op === 'write' ? K + M : K;
      const peer = await FanOut.start(bench, { op, pieces, pieceBytes, keeps: KEYS, checks: true });
      if (op === 'read') {
        await load.run({ op: 'put', series: 'read', count: KEYS, inFlight: 1 });
        await load.run({ op: 'get', series: 'read', keys: KEYS, count: WARM_READS, inFlight: 1 });
      }
      await peer.run(BLOBS);
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        theirs.push((await peer.run(BLOBS)).p50Us);
        const request =
          op === 'write'
            ? ({ op: 'put', series: `round-${round}`, count: BLOBS, inFlight: 1 } as const)
            : ({ op: 'get', series: 'read', keys: KEYS, count: BLOBS, inFlight: 1 } as const);
        ours.push((await load.run(request)).p50Us);
      }
      yield row(
        name,
        'us p50',
        median(ours),
        median(theirs),
        `${K}+${M}, one blob of 1 MiB at a time, six stor-node processes on memory devices, client in its own process, ` +
          `median of ${ROUNDS} interleaved rounds of ${BLOBS}; peer: ${pieces} pieces of ${pieceBytes >> 10} KiB ` +
          `to as many bare C++ processes over loopback TCP, each with ${KEYS} of them in turn, CRC32C of each 4 KiB made and verified`,
      );
    }
  },
};
