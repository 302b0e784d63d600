import type { RequestOptions } from 'node:https';
import { NabuError } from '../../common/errors/index.ts';
import type { KubeAccess } from './access.ts';

function headersOf({ headers, auth }: RequestOptions): Readonly<Record<string, string>> {
  const given = Object.entries(headers ?? {}).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name.toLowerCase(), value] as const] : [],
  );
  const basic = typeof auth === 'string' ? { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {};
  return { ...basic, ...Object.fromEntries(given) };
}

type Pem = string | Buffer;

function pem(value: unknown): Pem | undefined {
  return typeof value === 'string' || Buffer.isBuffer(value) ? value : undefined;
}

/**
 * As the current context of a kubeconfig says, whatever its way to authenticate. Loads the client library, which takes 86 MB
 * of memory: for machines outside of the cluster and for tests. Throws CONFIG_INVALID.
 */
export async function kubeconfigAccess(path: string): Promise<KubeAccess> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const options: RequestOptions = {};
  try {
    config.loadFromFile(path);
    await config.applyToHTTPSOptions(options);
  } catch (err) {
    throw NabuError.of('CONFIG_INVALID', { source: path, reason: 'it is no usable kubeconfig' }, { cause: err });
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) {
    throw NabuError.of('CONFIG_INVALID', { source: path, reason: 'its current context names no cluster' });
  }
  const [ca, cert, key] = [pem(options.ca), pem(options.cert), pem(options.key)];
  return {
    server: server.replace(/\/+$/, ''),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(options.servername === undefined ? {} : { servername: options.servername }),
      ...(options.rejectUnauthorized === undefined ? {} : { rejectUnauthorized: options.rejectUnauthorized }),
    },
    headers: async () => {
      const fresh: RequestOptions = {};
      await config.applyToHTTPSOptions(fresh);
      return headersOf(fresh);
    },
  };
}
