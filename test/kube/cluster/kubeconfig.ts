import type { Identity } from './certificates.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

export type KubeconfigOptions = {
  readonly server: string;
  /** PEM of the authority that the server is known by. */
  readonly authority: string;
  readonly identity: Identity;
};

/** JSON, which is YAML: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ */
export function kubeconfig({ server, authority, identity }: KubeconfigOptions): string {
  const name = 'test';
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    contexts: [{ name, context: { cluster: name, user: name } }],
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(authority) } }],
    users: [
      {
        name,
        user: {
          'client-certificate-data': base64(identity.certificate),
          'client-key-data': base64(identity.key),
        },
      },
    ],
  });
}
