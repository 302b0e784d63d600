// A Kubernetes of one node on this machine, with `nabu device-plugin` for a recorded node of eight H200 and four ConnectX-7: what
// docs/device-plugin.md is tried with. Huge pages are real, device files have no driver behind them. Until Ctrl-C.
// usage: try.ts      (or: make kube)
import { once } from 'node:events';
import { KubeCluster } from './cluster/index.ts';
import { TestDevicePlugin } from './device-plugin/device-plugin.ts';
import { ADDRESSES, OFFERED, RESOURCES } from './device-plugin/h200-node.ts';
import { NodeMachine } from './device-plugin/node-machine.ts';
import { programsFolder } from './programs/programs.ts';

async function untilEnded(): Promise<void> {
  const cluster = await KubeCluster.start({ byHand: true });
  try {
    await using machine = await NodeMachine.make();
    await using plugin = await TestDevicePlugin.start(cluster, machine, { resources: RESOURCES, addresses: ADDRESSES });
    await plugin.untilOffered(OFFERED);
    process.stdout.write(`
the node offers ${Object.entries(OFFERED)
      .map(([name, amount]) => `${amount} ${name}`)
      .join(', ')}; Ctrl-C takes everything away

export KUBECONFIG=${cluster.kubeconfig} PATH=${await programsFolder()}:$PATH
kubectl get node ${cluster.node} -o jsonpath='{.status.allocatable}'
`);
    const hold = setInterval(() => undefined, 60_000);
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), once(process, 'SIGHUP')]);
    clearInterval(hold);
    process.stdout.write('kube: stopping\n');
  } finally {
    await cluster.stop();
  }
}

await untilEnded();
