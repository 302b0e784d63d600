// A control plane on this machine with twelve nodes that are objects, a scheduler by docs/examples/scheduler-configuration.yaml, and the
// extender, its webhook and a second scheduler as the chart makes them: what docs/scheduler-extender.md is tried with. Pods get nodes and never run. Until Ctrl-C.
// usage: try.ts      (or: make kube-scheduling)
import { once } from 'node:events';
import { Chart } from '../chart.ts';
import { Plane } from '../plane/plane.ts';
import { programsFolder } from '../programs/programs.ts';
import { ChartInstall } from './chart-install.ts';
import { exampleConfiguration, Site } from './site.ts';
import { BOTH_SCHEDULERS } from './values.ts';

async function untilEnded(): Promise<void> {
  const missing = await Plane.missing();
  const chart = missing === '' ? await Chart.find() : undefined;
  if (chart === undefined) throw new Error(`not here yet: ${missing || 'Go, which helm is built with'}`);
  const plane = await Plane.start();
  let install: ChartInstall | undefined;
  let site: Site | undefined;
  try {
    install = await ChartInstall.start(plane, chart, BOTH_SCHEDULERS);
    site = await Site.make(plane.config());
    await install.untilAsked();
    await install.startScheduler('first', await exampleConfiguration(), plane.kubeconfig);
    await install.startSecondScheduler();
    const { caFile, certFile, keyFile } = install.files;
    process.stdout.write(`
twelve nodes, two schedulers that ask the extender (the cluster's own, and one called second); Ctrl-C takes everything away

export KUBECONFIG=${plane.kubeconfig} PATH=${await programsFolder()}:$PATH
export NABU_EXTENDER=https://localhost:${install.extender?.port}
alias nabu="$PWD/nabu" explain="$PWD/nabu explain pod --ca ${caFile} --cert ${certFile} --key ${keyFile}"
kubectl get nodes -L topology.nabustore.io/zone,topology.nabustore.io/rack
`);
    const hold = setInterval(() => undefined, 60_000);
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), once(process, 'SIGHUP')]);
    clearInterval(hold);
    process.stdout.write('kube-scheduling: stopping\n');
  } finally {
    await site?.stop();
    await install?.stop();
    await plane.stop();
  }
}

await untilEnded();
