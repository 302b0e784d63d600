import { CoreV1Api, type KubeConfig } from '@kubernetes/client-node';

const LIFETIME_S = 3600;

/** As a pod of this service account reaches the API server: with a token of it, and nothing else. JSON, which is YAML. */
export async function accountKubeconfig(admin: KubeConfig, namespace: string, account: string): Promise<string> {
  const cluster = admin.getCurrentCluster();
  if (cluster === null) throw new RangeError('the kubeconfig has no current cluster');
  const core = admin.makeApiClient(CoreV1Api);
  const body = { spec: { audiences: [], expirationSeconds: LIFETIME_S } };
  const { status } = await core.createNamespacedServiceAccountToken({ namespace, name: account, body });
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': account,
    contexts: [{ name: account, context: { cluster: 'test', user: account } }],
    clusters: [
      { name: 'test', cluster: { server: cluster.server, 'certificate-authority-data': cluster.caData ?? '' } },
    ],
    users: [{ name: account, user: { token: status?.token ?? '' } }],
  });
}
