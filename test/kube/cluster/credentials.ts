import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Authority, serviceAccountKeys } from './certificates.ts';
import { kubeconfig } from './kubeconfig.ts';
import type { ClusterLayout } from './layout.ts';

const SECRET_MODE = 0o600;
/** The first of the service addresses: the API server's own. */
const SERVICE_ADDRESS = '10.96.0.1';

/** Files that the components are started with. */
export type Credentials = {
  readonly authority: string;
  readonly serviceAccountPublicKey: string;
  readonly serviceAccountPrivateKey: string;
  readonly apiServer: { readonly certificate: string; readonly key: string };
  /** The API server as a client of the kubelet. */
  readonly kubeletClient: { readonly certificate: string; readonly key: string };
  readonly controllerManager: string;
  readonly scheduler: string;
  readonly kubelet: string;
};

export function credentialsOf({ certificates, kubelet }: ClusterLayout): Credentials {
  const at = (name: string): string => join(certificates, name);
  const pair = (name: string) => ({ certificate: at(`${name}.crt`), key: at(`${name}.key`) });
  return {
    authority: at('ca.crt'),
    serviceAccountPublicKey: at('sa.pub'),
    serviceAccountPrivateKey: at('sa.key'),
    apiServer: pair('apiserver'),
    kubeletClient: pair('kubelet-client'),
    controllerManager: at('controller-manager.kubeconfig'),
    scheduler: at('scheduler.kubeconfig'),
    kubelet: join(kubelet, 'kubeconfig'),
  };
}

export async function writeCredentials(layout: ClusterLayout, node: string, server: string): Promise<void> {
  const files = credentialsOf(layout);
  await Promise.all(
    [layout.certificates, layout.kubelet].map((folder) => mkdir(folder, { recursive: true, mode: 0o700 })),
  );
  const authority = await Authority.make();
  const write = (path: string, text: string): Promise<void> => writeFile(path, text, { mode: SECRET_MODE });
  const writeConfig = async (path: string, commonName: string, organization?: string): Promise<void> => {
    const identity = await authority.issue({ commonName, ...(organization === undefined ? {} : { organization }) });
    await write(path, kubeconfig({ server, authority: authority.pem, identity }));
  };
  const accountKeys = await serviceAccountKeys();
  const apiServer = await authority.issue({
    commonName: 'kube-apiserver',
    dns: ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'],
    addresses: ['127.0.0.1', SERVICE_ADDRESS],
  });
  const kubeletClient = await authority.issue({ commonName: 'kube-apiserver', organization: 'system:masters' });
  await Promise.all([
    write(files.authority, authority.pem),
    write(files.serviceAccountPublicKey, accountKeys.publicKey),
    write(files.serviceAccountPrivateKey, accountKeys.privateKey),
    write(files.apiServer.certificate, apiServer.certificate),
    write(files.apiServer.key, apiServer.key),
    write(files.kubeletClient.certificate, kubeletClient.certificate),
    write(files.kubeletClient.key, kubeletClient.key),
    writeConfig(layout.kubeconfig, 'admin', 'system:masters'),
    writeConfig(files.controllerManager, 'system:kube-controller-manager'),
    writeConfig(files.scheduler, 'system:kube-scheduler'),
    writeConfig(files.kubelet, `system:node:${node}`, 'system:nodes'),
  ]);
}
