import { join } from 'node:path';

/** Where a cluster has what, below one folder. Sockets' paths stay below the 108 bytes of a Unix address. */
export type ClusterLayout = {
  readonly folder: string;
  readonly logs: string;
  readonly pids: string;
  readonly certificates: string;
  readonly etcd: string;
  readonly kubelet: string;
  readonly podLogs: string;
  readonly images: string;
  readonly cni: string;
  readonly containerd: string;
  readonly containerdSocket: string;
  /** containerd reads CDI specifications there. */
  readonly cdi: string;
  readonly nri: string;
  readonly nriSocket: string;
  /** system:masters */
  readonly kubeconfig: string;
};

export function layoutOf(folder: string): ClusterLayout {
  const at = (...names: string[]): string => join(folder, ...names);
  return {
    folder,
    logs: at('log'),
    pids: at('run'),
    certificates: at('pki'),
    etcd: at('etcd'),
    kubelet: at('kubelet'),
    podLogs: at('pod-logs'),
    images: at('images'),
    cni: at('cni'),
    containerd: at('containerd'),
    containerdSocket: at('containerd.sock'),
    cdi: at('cdi'),
    nri: at('nri'),
    nriSocket: at('nri.sock'),
    kubeconfig: at('kubeconfig'),
  };
}
