export { inClusterAccess, type KubeAccess } from './access.ts';
export { KubeClient, type KubeQuery, type KubeRequest, type WatchEvent } from './kube-client.ts';
export { kubeconfigAccess } from './kubeconfig-access.ts';
