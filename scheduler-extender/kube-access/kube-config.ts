import type { KubeConfig } from '@kubernetes/client-node';
import { NabuError } from '../../common/errors/index.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');

/** How to reach the API server. `path`: of a kubeconfig; '' as the pod that this process runs in. Throws CONFIG_INVALID. */
export function kubeConfigOf(library: ClientLibrary, path: string): KubeConfig {
  const config = new library.KubeConfig();
  try {
    if (path === '') config.loadFromCluster();
    else config.loadFromFile(path);
    return config;
  } catch (err) {
    const source = path === '' ? 'the service account of this pod' : path;
    throw NabuError.of('CONFIG_INVALID', { source, reason: 'it is no usable kubeconfig' }, { cause: err });
  }
}
