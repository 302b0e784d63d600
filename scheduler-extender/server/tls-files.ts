import { readFile, stat } from 'node:fs/promises';
import type { SecureContextOptions } from 'node:tls';
import { NabuError } from '../../common/errors/index.ts';

/** Paths of PEM files. */
export type TlsFiles = {
  readonly certFile: string;
  readonly keyFile: string;
  /** Who signs the certificates of clients; '' takes any client. */
  readonly clientCaFile: string;
};

async function pem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (err) {
    throw NabuError.of('FILE_INVALID', { path, reason: 'it cannot be read' }, { cause: err });
  }
}

/** TLS 1.2 at least, as client-go speaks. Throws FILE_INVALID. */
export async function readTls({ certFile, keyFile, clientCaFile }: TlsFiles): Promise<SecureContextOptions> {
  const [cert, key] = await Promise.all([pem(certFile), pem(keyFile)]);
  const ca = clientCaFile === '' ? undefined : await pem(clientCaFile);
  return { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) };
}

/** Changes when one of the files does: cert-manager replaces them while we run. */
export async function tlsStamp({ certFile, keyFile, clientCaFile }: TlsFiles): Promise<string> {
  const paths = [certFile, keyFile, clientCaFile].filter((path) => path !== '');
  const stats = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return stats.map((found) => (found === undefined ? '-' : `${found.ino}.${found.mtimeMs}.${found.size}`)).join(' ');
}
