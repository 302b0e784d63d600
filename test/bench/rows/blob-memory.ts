import { Cluster } from '../cluster.ts';
import { FanOut } from '../peers/fan-out.ts';
import { Child, nativeProgram } from '../process.ts';
import { median, type Provider, row } from '../provider.ts';

const BLOB_BYTES = 4 << 20;
const [K, M] = [4, 2];
const IN_FLIGHT = 16;
const WARM_BLOBS = 150;
const BLOBS = 100;
const ROUNDS = 5;
const DEVICE_BYTES = 1.5 * 2 ** 30;
const GB_PER_RUN = (BLOBS * BLOB_BYTES) / 1e9;

type Parts = { readonly encode: number; readonly crcStripe: number; readonly crcBlob: number };

/** CPU that a byte costs, all processes taken together: what a node has left for its owner. */
export const provider: Provider = {
  rows: ['blob.put.memory', 'blob.get.memory'],
  async *measure(bench) {
    const cluster = await Cluster.start(bench, { driver: 'memory', deviceSizeBytes: DEVICE_BYTES });
    const load = await cluster.load(`ec:${K}+${M}`, BLOB_BYTES, IN_FLIGHT);
    const parts = await Child.start(bench.scope, [
      nativeProgram('bench/bench_parts'),
      ...[String(K), String(M), String(BLOB_BYTES)],
    ]);
    bench.progress('blob.memory: warming up');
    // A put of a key that is there already is a cache hit: every series is new.
    let series = 0;
    const put = () => load.run({ op: 'put', series: `put-${series++}`, count: BLOBS, inFlight: IN_FLIGHT });
    await load.warmUp();
    await load.run({ op: 'put', series: 'warm', count: WARM_BLOBS, inFlight: IN_FLIGHT });
    const get = () => load.run({ op: 'get', series: 'warm', keys: WARM_BLOBS, count: BLOBS, inFlight: IN_FLIGHT });
    for (const op of ['put', 'get'] as const) {
      const name = `blob.${op}.memory`;
      if (!bench.wants(name)) continue;
      const pieces = op === 'put' ? K + M : K;
      const peerOp = op === 'put' ? 'write' : 'read';
      const pieceBytes = BLOB_BYTES / K;
      const socket = await FanOut.start(bench, { op: peerOp, pieces, pieceBytes, keeps: BLOBS, checks: false });
      await (op === 'put' ? put() : get());
      await socket.run(BLOBS);
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const part = JSON.parse(await parts.ask(String(BLOBS))) as Parts;
        const socketCpu = (await socket.run(BLOBS)).cpuSecondsOfAll / GB_PER_RUN;
        const cpu = op === 'put' ? part.encode + 2 * part.crcStripe + socketCpu : 2 * part.crcBlob + socketCpu;
        theirs.push(1 / cpu);
        ours.push(GB_PER_RUN / (await (op === 'put' ? put() : get())).cpuSecondsOfAll);
      }
      yield row(
        name,
        'GB per CPU second',
        median(ours),
        median(theirs),
        `${K}+${M}, blobs of 4 MiB, ${IN_FLIGHT} in flight, six stor-node processes on memory devices, user and system time ` +
          `of client and nodes, median of ${ROUNDS} interleaved rounds of ${BLOBS}; peer: the parts alone and added: ` +
          (op === 'put' ? 'encode, CRC32C of 1.5x made and verified, 1.5x' : 'CRC32C of 1x verified twice, 1x') +
          ` over bare C++ sockets (${pieces} processes)`,
      );
    }
  },
};
