import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { until } from '../host/until.ts';
import type { KubeApi } from '../plane/kube-api.ts';

const CRD = join(import.meta.dirname, '../../../charts/nabustore/crds/localityreports.nabustore.io.yaml');
const REPORTS = '/apis/nabustore.io/v1alpha1/localityreports';
const SERVED_MS = 60_000;
/** Longer than any test of these. */
const VALID_S = 3600;

export type Reported = { readonly contents: readonly object[]; readonly linkLoadPercent?: number };

/** What nodes say of themselves, as their agents would, by the names of the nodes; and the resource for it. */
export async function publishReports(api: KubeApi, byNode: ReadonlyMap<string, Reported>): Promise<void> {
  await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', parse(readFileSync(CRD, 'utf8')));
  await until('the resource is served', SERVED_MS, () => api.get(REPORTS));
  const reportedAt = new Date().toISOString();
  const reports = [...byNode].map(([name, reported]) => ({
    apiVersion: 'nabustore.io/v1alpha1',
    kind: 'LocalityReport',
    metadata: { name },
    spec: { reportedAt, validSeconds: VALID_S, ...reported },
  }));
  await api.createAll(reports.map((report) => [REPORTS, report]));
}
