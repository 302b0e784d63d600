import { type Clock, realClock } from '../../common/ports/index.ts';
import type { Findings } from './finding.ts';
import type { KernelSupport } from './p2pdma.ts';
import { StuckReads } from './stuck-reads.ts';
import { Survey } from './survey.ts';
import { SysTree } from './sys-tree.ts';
import { nodeFiles, type TreeEntry, type TreeFiles } from './tree-files.ts';

/** Where /sys, /dev and /proc of the machine are to be found: at these paths on a host, elsewhere in a container or a test. */
export type DiscoveryRoots = { readonly sysfsRoot: string; readonly devRoot: string; readonly procRoot: string };

export type DiscoveryOptions = {
  /** Ends the discovery: throws the signal's NabuError, or CANCELLED. Usually that of a deadline. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /** Kept between discoveries by whoever repeats them, so that a hanging file is not read again and again. */
  readonly stuck?: StuckReads;
  /** What an earlier discovery found of the kernel that runs: it stays as it is, and all symbols take 70 ms to read. */
  readonly kernel?: KernelSupport;
  /** For recorded machines, where device files are files of another kind. */
  readonly isCharDevice?: (entry: TreeEntry) => boolean;
  readonly files?: TreeFiles;
};

/** The three trees below the roots, ready to be asked. */
export function surveyOf(
  { sysfsRoot, devRoot, procRoot }: DiscoveryRoots,
  options: DiscoveryOptions,
  findings: Findings,
): Survey {
  const { signal, files = nodeFiles, clock = realClock, stuck = new StuckReads() } = options;
  const tree = (root: string, name: string): SysTree => new SysTree({ root, name, files, clock, stuck, signal });
  return new Survey({
    sys: tree(sysfsRoot, '/sys'),
    dev: tree(devRoot, '/dev'),
    proc: tree(procRoot, '/proc'),
    findings,
    isCharDevice: options.isCharDevice ?? (({ kind }) => kind === 'char-device'),
    signal,
  });
}
