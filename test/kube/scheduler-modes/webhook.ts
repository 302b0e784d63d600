import type { Chart } from '../chart.ts';
import { until } from '../host/until.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import { PODS } from '../scale/objects.ts';
import type { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { servingPod } from './model-load.ts';

const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const WAIT_MS = 60_000;

/** The chart's registration with this process behind it; pods are reviewed from now on. Returns what ends that. */
export async function registerWebhook(
  api: KubeApi,
  chart: Chart,
  { url, authority }: SchedulerAdmissionProcess,
): Promise<() => Promise<void>> {
  const tls = { source: 'secret', secretName: 'unused', caBundle: authority, url };
  const objects = await chart.render({ schedulerAdmission: { enabled: true, gates: false, tls } });
  const found = objects.find(({ kind, metadata }) => {
    return kind === 'MutatingWebhookConfiguration' && metadata.name.endsWith('scheduler-admission');
  });
  if (found === undefined) throw new RangeError('the chart has no webhook');
  await api.create(CONFIGURATIONS, found);
  const probe = servingPod({ name: 'probe', model: 0 }, { marked: false });
  await until('pods are reviewed', WAIT_MS, async () => {
    const made = JSON.stringify(await api.create(`${PODS}?dryRun=All`, probe));
    return made.includes('nabustore.io/placement') ? true : undefined;
  });
  return async () => {
    await api.remove(`${CONFIGURATIONS}/${found.metadata.name}`);
    await until('pods are not reviewed any more', WAIT_MS, async () => {
      const made = JSON.stringify(await api.create(`${PODS}?dryRun=All`, probe));
      return made.includes('nabustore.io/placement') ? undefined : true;
    });
  };
}
