import type { nri } from '../../proto/gen/messages.js';

type Container = nri.pkg.api.v1alpha1.Container;

/** What of a container that is being made looks as if it held something of ours. */
export type Hints = {
  /** Device files of the kinds that we hand out, in the OCI spec. A pod cannot put them there itself without being privileged. */
  readonly deviceFiles: readonly string[];
  /** A hugetlbfs that the runtime makes for it: no volume of a pod is one. */
  readonly hasHugetlbfs: boolean;
  /** Variables that our grants set, and anybody may. */
  readonly hasVariable: boolean;
};

const DEVICE_FILE =
  /^\/dev\/(infiniband\/(uverbs|umad|issm)\d+|infiniband\/rdma_cm|nvidia-fs\d*|vfio\/(noiommu-)?\d+|vfio\/devices\/vfio\d+)$/;
const VARIABLE = /^(NABUSTORE_[A-Z0-9_]+|CUFILE_ENV_PATH_JSON)=/;

/** Pure. Everything that we grant leaves at least one of them. CDI names are not there: containerd 2.2 tells NRI of none. */
export function hintsOf({ linux, mounts, env }: Pick<Container, 'linux' | 'mounts' | 'env'>): Hints {
  return {
    deviceFiles: (linux?.devices ?? []).map(({ path }) => path).filter((path) => DEVICE_FILE.test(path)),
    hasHugetlbfs: mounts.some(({ type }) => type === 'hugetlbfs'),
    hasVariable: env.some((variable) => VARIABLE.test(variable)),
  };
}

export function isHinted({ deviceFiles, hasHugetlbfs, hasVariable }: Hints): boolean {
  return deviceFiles.length > 0 || hasHugetlbfs || hasVariable;
}
