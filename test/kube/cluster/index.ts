export { BUSYBOX_IMAGE, type ImageOptions, ociImage } from '../images/index.ts';
export { KubeCluster, type KubeClusterOptions } from './kube-cluster.ts';
export type { ClusterLayout } from './layout.ts';
