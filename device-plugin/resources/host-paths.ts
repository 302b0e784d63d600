import type { DiscoveryRoots } from '../discovery/index.ts';

/**
 * Where things are: as this process sees them, and as the container runtime finds them on the host. On a node whose plugin
 * runs in a container the two differ; what a grant names is always the host's.
 */
export type HostPaths = {
  /** What this process reads. Paths of an inventory begin with /sys, /dev and /proc and stand for these. */
  readonly roots: DiscoveryRoots;
  /** The tree of `roots.devRoot` on the host: /dev but for recorded machines. */
  readonly devRootInHost: string;
  /** What outlives this process. */
  readonly stateDir: string;
  /** The same folder on the host: mounts of what is in it name this. */
  readonly stateDirInHost: string;
  /** Where this process writes CDI specs; the runtime has to read the same folder. */
  readonly cdiDir: string;
  /** The udev database on the host, for mounts: /run/udev. */
  readonly udevDirInHost: string;
};

/** '/dev/infiniband/uverbs0' of an inventory, on the host. */
export function devicePathInHost({ devRootInHost }: Pick<HostPaths, 'devRootInHost'>, path: string): string {
  return below(devRootInHost, path);
}

/** '/dev/infiniband/uverbs0' of an inventory, as this process opens it. */
export function devicePathHere({ roots }: Pick<HostPaths, 'roots'>, path: string): string {
  return below(roots.devRoot, path);
}

function below(root: string, path: string): string {
  if (!path.startsWith('/dev/')) throw new RangeError(`${path} is not below /dev`);
  return root.replace(/\/+$/, '') + path.slice('/dev'.length);
}
