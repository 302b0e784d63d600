// Starts a Kubernetes on this machine and keeps it until Ctrl-C: to look at, and for tests, which use it instead of one of
// their own.
// usage: up.ts
import { once } from 'node:events';
import { KubeCluster } from './cluster/index.ts';

const startedMs = performance.now();
const cluster = await KubeCluster.start({ byHand: true });
const { layout } = cluster;
process.stdout.write(`
ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s; Ctrl-C takes it away

export KUBECONFIG=${cluster.kubeconfig}
node          ${cluster.node}
kubelet       ${cluster.kubeletDir}   (device-plugins/, pod-resources/, plugins_registry/)
containerd    ${layout.containerdSocket}
CDI           ${cluster.cdiDir}
NRI           ${cluster.nriSocket}
logs          ${layout.logs}
`);
// A timer holds the process: everything of the cluster is detached from it.
const hold = setInterval(() => undefined, 60_000);
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), once(process, 'SIGHUP')]);
clearInterval(hold);
process.stdout.write('kube: stopping\n');
await cluster.stop();
