import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import type { Credentials } from './credentials.ts';

const TIMEOUT_MS = 2000;

/** What a component answers at a path, asked with the API server's own client certificate. Rejects where it does not answer 200. */
export async function probe(credentials: Credentials, port: number, path: string, verify: boolean): Promise<string> {
  const [ca, cert, key] = await Promise.all(
    [credentials.authority, credentials.kubeletClient.certificate, credentials.kubeletClient.key].map((file) =>
      readFile(file),
    ),
  );
  // The kubelet signs its own certificate.
  const agent = new Agent({ ca, cert, key, rejectUnauthorized: verify });
  try {
    return await new Promise<string>((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port, path, agent, timeout: TIMEOUT_MS }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${path} answers ${response.statusCode}: ${text.slice(0, 200)}`));
        });
      });
      call.once('timeout', () => call.destroy(new Error(`${path} does not answer within ${TIMEOUT_MS} ms`)));
      call.once('error', reject);
      call.end();
    });
  } finally {
    agent.destroy();
  }
}
