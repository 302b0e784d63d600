import { TestCluster } from '../../integration/cluster.ts';
import { type FioJob, type FioResult, fio } from '../fio.ts';
import { fuseMemory } from '../peers/fuse-memory.ts';
import { type Bench, Missing, median, type Provider, type Row, row } from '../provider.ts';

const MIB = 1 << 20;
const VOLUME_BYTES = 256 * MIB;
const CACHE_BYTES = 64 * MIB;
const WARM_SET_BYTES = 48 * MIB;
const NODE_BYTES = 512 * MIB;
const ROUNDS = 5;
const SECONDS = 2;

type Case = {
  readonly name: string;
  readonly unit: string;
  readonly peer: 'memory' | 'memory and a hop';
  readonly job: Omit<FioJob, 'device'>;
  readonly figure: (result: FioResult) => number;
  readonly method: string;
};

const iops = ({ iops: figure }: FioResult): number => figure;
const gbPerSecond = ({ gbPerSecond: figure }: FioResult): number => figure;
const small = { blockBytes: 4096, depth: 32 } as const;
const large = { blockBytes: MIB, depth: 4, spanBytes: VOLUME_BYTES } as const;

const CASES: readonly Case[] = [
  // In order first: random writes leave a log in which what is next to each other on the volume lies far apart.
  {
    name: 'volume.seqread.1MiB',
    unit: 'GB/s',
    peer: 'memory',
    job: { ...large, rw: 'read', seconds: SECONDS },
    figure: gbPerSecond,
    method: `depth 4, through ${VOLUME_BYTES / MIB} MiB with a read cache of ${CACHE_BYTES / MIB} MiB`,
  },
  {
    name: 'volume.seqwrite.1MiB',
    unit: 'GB/s',
    peer: 'memory',
    job: { ...large, rw: 'write', totalBytes: VOLUME_BYTES, flushAtEnd: true },
    figure: gbPerSecond,
    method: `depth 4, ${VOLUME_BYTES / MIB} MiB, the flush at the end counted`,
  },
  {
    name: 'volume.randread.4KiB.qd32',
    unit: 'IOPS',
    peer: 'memory',
    job: { ...small, rw: 'randread', spanBytes: WARM_SET_BYTES, seconds: SECONDS },
    figure: iops,
    method: `working set ${WARM_SET_BYTES / MIB} MiB in a read cache of ${CACHE_BYTES / MIB} MiB`,
  },
  {
    name: 'volume.randread-cold.4KiB.qd32',
    unit: 'IOPS',
    peer: 'memory and a hop',
    job: { ...small, rw: 'randread', spanBytes: VOLUME_BYTES, seconds: SECONDS },
    figure: iops,
    method: `working set ${VOLUME_BYTES / MIB} MiB, four times the read cache`,
  },
  {
    name: 'volume.randwrite.4KiB.qd32',
    unit: 'IOPS',
    peer: 'memory',
    job: { ...small, rw: 'randwrite', spanBytes: VOLUME_BYTES, totalBytes: 96 * MIB, flushAtEnd: true },
    figure: iops,
    method: '96 MiB of writes in steady state, the flush at the end counted',
  },
];

async function measure(bench: Bench, device: string, one: Case): Promise<Row> {
  const peerDevice = await fuseMemory(bench, VOLUME_BYTES, one.peer !== 'memory');
  const { scope } = bench;
  await fio(scope, { device: peerDevice, rw: 'write', spanBytes: VOLUME_BYTES, blockBytes: MIB, depth: 4 });
  const ours: number[] = [];
  const theirs: number[] = [];
  await fio(scope, { ...one.job, device });
  for (let seed = 1; seed <= ROUNDS; seed++) {
    theirs.push(one.figure(await fio(scope, { ...one.job, device: peerDevice, seed })));
    ours.push(one.figure(await fio(scope, { ...one.job, device, seed })));
  }
  return row(
    one.name,
    one.unit,
    median(ours),
    median(theirs),
    `fio io_uring O_DIRECT on the raw loop device, ec:4+2 on six stor-node processes with memory devices, ${one.method}, ` +
      `median of ${ROUNDS} interleaved rounds; peer: the same FUSE and loop path over plain memory` +
      `${one.peer === 'memory' ? '' : ', each read one C++ socket hop more'}, 2 threads`,
  );
}

export const provider: Provider = {
  rows: CASES.map(({ name }) => name),
  async *measure(bench) {
    const missing = await TestCluster.missing();
    if (missing !== '') throw new Missing(`volumes need ${missing}`);
    const starting = TestCluster.start({
      deviceSizeBytes: NODE_BYTES,
      nodeArguments: ['--driver', 'memory', '--log-level', 'warn'],
      serverArguments: ['--read-cache-bytes', String(CACHE_BYTES), '--log-level', 'warn'],
    });
    // Its processes are detached: an interruption waits for the start, which knows them.
    bench.scope.defer('the cluster of the volume', () =>
      starting.then(
        (started) => started.close(),
        () => undefined, // it has cleaned up after itself
      ),
    );
    const cluster = await starting;
    const { device } = await cluster.openVolume({ name: 'bench', sizeBytes: VOLUME_BYTES, policy: 'ec:4+2' });
    bench.progress('volume: filling');
    const fill = { device, rw: 'write', spanBytes: VOLUME_BYTES, blockBytes: MIB, depth: 4, flushAtEnd: true } as const;
    await fio(bench.scope, fill);
    for (const one of CASES) if (bench.wants(one.name)) yield await measure(bench, device, one);
  },
};
