// A cluster with a pod, for a test that kills this process. Says "running" when the pod runs, and ends with the pipe at its
// standard input: nobody is left then who would kill it.
// usage: start-and-wait.ts WAIT_MS
import { KubeCluster } from '../cluster/index.ts';
import { Namespace, pod } from '../pods/index.ts';

process.stdin.resume().once('end', () => process.exit(1));
const cluster = await KubeCluster.start({ waitMs: Number(process.argv[2]) });
const namespace = await Namespace.make(cluster);
await namespace.create(pod('orphan'));
await namespace.untilReady('orphan');
process.stdout.write('running\n');
