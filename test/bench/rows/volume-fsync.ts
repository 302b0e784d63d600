import { join } from 'node:path';
import { TestCluster } from '../../integration/cluster.ts';
import { fio } from '../fio.ts';
import { FanOut } from '../peers/fan-out.ts';
import { Child } from '../process.ts';
import { Missing, median, type Provider, row } from '../provider.ts';

const MIB = 1 << 20;
const VOLUME_BYTES = 256 * MIB;
const NODE_BYTES = 768 * MIB;
const ROUNDS = 7;
const WRITES = 300;
/** Until the volume server and the nodes run compiled code. */
const WARM_WRITES = 6_000;
/** Small log blobs of a 4+2 volume are kept as three copies. */
const COPIES = 3;

/** What a database waits for at each commit, on file devices: in memory nothing would be durable. */
export const provider: Provider = {
  rows: ['volume.fsync.4KiB'],
  async *measure(bench) {
    const missing = await TestCluster.missing();
    if (missing !== '') throw new Missing(`volumes need ${missing}`);
    const { scope } = bench;
    const starting = TestCluster.start({
      deviceSizeBytes: NODE_BYTES,
      nodeArguments: ['--log-level', 'warn'],
      serverArguments: ['--log-level', 'warn'],
    });
    // Its processes are detached: an interruption waits for the start, which knows them.
    scope.defer('the cluster of the volume', () =>
      starting.then(
        (started) => started.close(),
        () => undefined, // it has cleaned up after itself
      ),
    );
    const cluster = await starting;
    const { device } = await cluster.openVolume({ name: 'bench', sizeBytes: VOLUME_BYTES, policy: 'ec:4+2' });
    const appends = await Child.start(scope, [
      ...([process.execPath, '--disable-warning=ExperimentalWarning'] as const),
      ...[join(import.meta.dirname, '../load/append.ts'), await scope.folder(), String(COPIES)],
    ]);
    await appends.line();
    const socket = await FanOut.start(bench, { op: 'write', pieces: 1, pieceBytes: 4096, keeps: 1, checks: true });
    const ours = async (writes = WRITES): Promise<number> => {
      const job = { device, rw: 'randwrite', blockBytes: 4096, depth: 1, spanBytes: VOLUME_BYTES } as const;
      return (await fio(scope, { ...job, totalBytes: writes * 4096, fsyncEach: true })).writeAndFlushP50Us;
    };
    const theirs = async (): Promise<number> => {
      const { p50Us } = JSON.parse(await appends.ask(String(WRITES))) as { p50Us: number };
      return p50Us + (await socket.run(WRITES)).p50Us;
    };
    bench.progress('volume.fsync: warming up');
    await ours(WARM_WRITES);
    await theirs();
    const mine: number[] = [];
    const other: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      other.push(await theirs());
      mine.push(await ours());
    }
    yield row(
      'volume.fsync.4KiB',
      'us p50',
      median(mine),
      median(other),
      'fio, one write of 4 KiB and its fsync at a time on the raw loop device, p50 of the write plus p50 of the fsync, ' +
        `ec:4+2 on six stor-node processes on files of one disk, median of ${ROUNDS} interleaved rounds of ${WRITES}; peer: ` +
        `${COPIES} parallel durable appends of 4 KiB to our store in one process on the same disk, plus one round trip of 4 KiB to ` +
        'a bare C++ process',
    );
  },
};
