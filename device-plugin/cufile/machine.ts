import type { CufileVersion } from './version.ts';

/** An HCA that the container was given, with what the kernel calls its network devices and their addresses. */
export type CufileHca = {
  /** E.g. mlx5_0. */
  readonly name: string;
  readonly netDevices: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly numaNode: number | undefined;
  /** Two devices with the same root reach each other without the host bridge. */
  readonly pcieRoot: string;
};

export type CufileGpu = {
  readonly pciAddress: string;
  readonly numaNode: number | undefined;
  readonly pcieRoot: string;
};

/** How cuFile reaches storage on this node: by its kernel module, by the kernel alone, or only through host memory. */
export type CufileMode = 'nvidia-fs' | 'p2pdma' | 'compat';

/** What a container was given, and the cuFile that it will run. */
export type CufileInput = {
  readonly hcas: readonly CufileHca[];
  readonly gpus: readonly CufileGpu[];
  readonly mode: CufileMode;
  readonly cufileVersion: CufileVersion;
};
