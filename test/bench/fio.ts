import { output } from './process.ts';
import type { Scope } from './scope.ts';

export type FioJob = {
  readonly device: string;
  readonly rw: 'read' | 'write' | 'randread' | 'randwrite';
  readonly blockBytes: number;
  readonly depth: number;
  /** Bytes of the device that are touched, from its start. */
  readonly spanBytes: number;
  /** For how long, or how many bytes. */
  readonly seconds?: number;
  readonly totalBytes?: number;
  /** fdatasync after each write. */
  readonly fsyncEach?: boolean;
  /** fsync at the end, and count it. */
  readonly flushAtEnd?: boolean;
  readonly seed?: number;
};

export type FioResult = {
  readonly iops: number;
  readonly gbPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Median of write and the flush after it, together; 0 without fsyncEach. */
  readonly writeAndFlushP50Us: number;
};

type Side = {
  readonly io_bytes: number;
  readonly total_ios: number;
  readonly runtime: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
};
type FioOutput = {
  readonly jobs: readonly {
    readonly read: Side;
    readonly write: Side;
    readonly job_runtime: number;
    readonly sync?: { readonly lat_ns?: { readonly percentile?: Readonly<Record<string, number>> } };
  }[];
};

const percentile = (of: Readonly<Record<string, number>> | undefined, which: string): number =>
  (of?.[which] ?? 0) / 1000;

/** Direct I/O on a block device or file with io_uring. Rates count the flush at the end when there is one. */
export async function fio(scope: Scope, job: FioJob): Promise<FioResult> {
  const text = await output(scope, [
    'fio',
    '--name=bench',
    `--filename=${job.device}`,
    `--rw=${job.rw}`,
    `--bs=${job.blockBytes}`,
    `--iodepth=${job.depth}`,
    `--size=${job.spanBytes}`,
    `--randseed=${job.seed ?? 1}`,
    '--ioengine=io_uring',
    '--direct=1',
    '--norandommap',
    '--refill_buffers=0',
    '--percentile_list=50:99',
    '--output-format=json',
    ...(job.seconds === undefined ? [] : ['--time_based', `--runtime=${job.seconds}`]),
    ...(job.totalBytes === undefined ? [] : [`--io_size=${job.totalBytes}`]),
    ...(job.fsyncEach === true ? ['--fsync=1'] : []),
    ...(job.flushAtEnd === true ? ['--end_fsync=1'] : []),
  ]);
  const parsed = JSON.parse(text.slice(text.indexOf('{'))) as FioOutput;
  const measured = parsed.jobs[0];
  if (measured === undefined) throw new Error('fio gave no job');
  const side = job.rw === 'read' || job.rw === 'randread' ? measured.read : measured.write;
  // end_fsync is outside `runtime` and inside `job_runtime`, both in milliseconds.
  const seconds = (job.flushAtEnd === true ? Math.max(side.runtime, measured.job_runtime) : side.runtime) / 1000;
  const p50Us = percentile(side.clat_ns.percentile, '50.000000');
  const syncP50Us = percentile(measured.sync?.lat_ns?.percentile, '50.000000');
  return {
    iops: side.total_ios / seconds,
    gbPerSecond: side.io_bytes / 1e9 / seconds,
    p50Us,
    p99Us: percentile(side.clat_ns.percentile, '99.000000'),
    writeAndFlushP50Us: job.fsyncEach === true ? p50Us + syncP50Us : 0,
  };
}
