import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** How the API server is reached and who asks, in PEM. */
export type KubeAccess = {
  /** Without a slash at its end. */
  readonly server: string;
  readonly tls: {
    readonly ca?: string | Buffer;
    readonly cert?: string | Buffer;
    readonly key?: string | Buffer;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  /** Asked before every call: tokens are replaced while we run. */
  headers(): Promise<Readonly<Record<string, string>>>;
};

/** Where a pod finds its service account (Kubernetes, "Accessing the API from a Pod"). */
const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
/** A projected token is replaced when a fifth of its life is left, ten minutes at the least. */
const TOKEN_MS = 60_000;

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (err) {
    throw NabuError.of('FILE_INVALID', { path, reason: 'it cannot be read' }, { cause: err });
  }
}

export type InClusterOptions = {
  readonly clock: Clock;
  readonly env?: NodeJS.ProcessEnv;
  readonly folder?: string;
};

/**
 * As the pod that this process runs in. Without the client library, which takes 86 MB of memory to load: nothing of it is
 * needed for a token, a certificate and JSON. Throws CONFIG_INVALID outside of a pod, FILE_INVALID.
 */
export async function inClusterAccess(options: InClusterOptions): Promise<KubeAccess> {
  const { clock, env = process.env, folder = SERVICE_ACCOUNT_FOLDER } = options;
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (host === undefined || port === undefined) {
    const reason = 'this is no pod (no KUBERNETES_SERVICE_HOST): name a kubeconfig';
    throw NabuError.of('CONFIG_INVALID', { source: 'environment', reason });
  }
  const ca = await read(join(folder, 'ca.crt'));
  let token = '';
  let readAtMs = Number.NEGATIVE_INFINITY;
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tls: { ca },
    headers: async () => {
      if (clock.monotonicMs() - readAtMs >= TOKEN_MS) {
        token = (await read(join(folder, 'token'))).trim();
        readAtMs = clock.monotonicMs();
      }
      return { authorization: `Bearer ${token}` };
    },
  };
}
