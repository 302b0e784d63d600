import type { CufileValue } from './value.ts';
import type { CufileVersions } from './version.ts';

/** One key of cufile.json. A key whose range changed between releases is there once per range. */
export type CufileKey = CufileVersions & {
  /** With dots, from the top of the file. */
  readonly path: string;
  readonly value: CufileValue;
  /** What cuFile takes when the file is silent. */
  readonly fallback: string;
  readonly meaning: string;
  /** What we write, and why. Absent: we leave it to cuFile, and an override may set it. */
  readonly ours?: string;
};

export const LOAD_BALANCING = ['FirstFit', 'MaxMinFit', 'RoundRobin', 'RoundRobinMaxMin', 'Randomized'] as const;
export const LOG_LEVELS = ['NOTICE', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'] as const;
export const ROUTES = ['GPU_MEM_NVLINKS', 'GPU_MEM', 'SYS_MEM', 'P2P'] as const;
