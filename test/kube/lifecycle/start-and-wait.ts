// A cluster with a pod, for a test that kills this process. Says "running" when the pod runs.
// usage: start-and-wait.ts
import { KubeCluster } from '../cluster/index.ts';
import { Namespace, pod } from '../pods/index.ts';

const cluster = await KubeCluster.start();
const namespace = await Namespace.make(cluster);
await namespace.create(pod('orphan'));
await namespace.untilReady('orphan');
process.stdout.write('running\n');
// Until it is killed.
setInterval(() => undefined, 60_000);
