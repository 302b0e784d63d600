import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import type { ClientRequest, OutgoingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Authority, type Identity } from '../kube/cluster/certificates.ts';

const NABU = fileURLToPath(new URL('../../nabu', import.meta.url));
const START_MS = 30_000;

export const RESOURCES = `version: v1
resources:
  - {kind: hugetlbfs, pageSize: 2Mi, unitBytes: 67108864}
`;

export type HttpAnswer = { readonly status: number; readonly body: string };

/** `nabu admission` as a process of its own, with a certificate for 127.0.0.1 laid out as a mounted Secret is. */
export class AdmissionProcess {
  readonly folder: string;
  readonly authority: Authority;
  readonly log: string[] = [];
  readonly #kept = new Agent({ keepAlive: true, maxSockets: 8 });
  #child: ChildProcess | undefined;
  port = 0;

  private constructor(folder: string, authority: Authority) {
    this.folder = folder;
    this.authority = authority;
  }

  static async start(resources = RESOURCES): Promise<AdmissionProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-admission-'));
    const server = new AdmissionProcess(folder, await Authority.make());
    await mkdir(join(folder, 'tls'));
    await server.replaceCertificate();
    for (const name of ['tls.crt', 'tls.key']) await symlink(join('..data', name), join(folder, 'tls', name));
    await writeFile(join(folder, 'resources.yaml'), resources);
    try {
      await server.#run();
    } catch (err) {
      await server.stop();
      throw err;
    }
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}/mutate-pods`;
  }

  get isAlive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** As the kubelet does it: a new folder, and one rename of the link to it. */
  async replaceCertificate(identity?: Identity): Promise<void> {
    const { certificate, key } =
      identity ?? (await this.authority.issue({ commonName: 'admission', addresses: ['127.0.0.1'] }));
    const tls = join(this.folder, 'tls');
    const version = await mkdtemp(join(tls, '..version-'));
    await writeFile(join(version, 'tls.crt'), certificate);
    await writeFile(join(version, 'tls.key'), key);
    const before = await readlink(join(tls, '..data')).catch(() => undefined);
    await symlink(version, join(tls, '..data_tmp'));
    await rename(join(tls, '..data_tmp'), join(tls, '..data'));
    if (before !== undefined) await rm(before, { recursive: true });
  }

  /** One request on a connection of its own. */
  async ask(path: string, method: string, body?: Buffer | string, type = 'application/json'): Promise<HttpAnswer> {
    const headers = body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) };
    return await this.#answered(this.#request(path, method, headers).end(body));
  }

  /** Says that a body of this size comes, and sends none of it. */
  async announce(sizeBytes: number): Promise<HttpAnswer> {
    const headers = { 'content-type': 'application/json', 'content-length': sizeBytes };
    const sent = this.#request('/mutate-pods', 'POST', headers);
    sent.flushHeaders();
    try {
      return await this.#answered(sent);
    } finally {
      sent.destroy();
    }
  }

  #request(path: string, method: string, headers: OutgoingHttpHeaders, agent: Agent | false = false): ClientRequest {
    const { port, authority } = this;
    return request({ host: '127.0.0.1', port, path, method, headers, ca: authority.pem, agent });
  }

  async #answered(sent: ClientRequest): Promise<HttpAnswer> {
    const [response] = await once(sent, 'response');
    let text = '';
    for await (const chunk of response) text += chunk;
    return { status: response.statusCode, body: text };
  }

  /** As the API server asks: over connections that are kept. */
  async review(body: Buffer | string): Promise<HttpAnswer> {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    return await this.#answered(this.#request('/mutate-pods', 'POST', headers, this.#kept).end(body));
  }

  async stop(): Promise<void> {
    this.#kept.destroy();
    const child = this.#child;
    if (child !== undefined && this.isAlive) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #run(): Promise<void> {
    const at = (name: string): string => join(this.folder, name);
    const args = [
      'admission',
      '--listen',
      '127.0.0.1:0',
      '--tls-cert',
      at('tls/tls.crt'),
      '--tls-key',
      at('tls/tls.key'),
    ];
    const child = spawn(NABU, [...args, '--resources', at('resources.yaml')], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    const running = Promise.withResolvers<void>();
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.log.push(line);
      const listen = /"message":"running".*"listen":"127\.0\.0\.1:(\d+)"/.exec(line)?.[1];
      if (listen === undefined) return;
      this.port = Number(listen);
      running.resolve();
    });
    child.once('exit', () => running.reject(new RangeError(`nabu admission ended: ${this.log.join('\n')}`)));
    const timer = setTimeout(() => running.reject(new RangeError('nabu admission did not start')), START_MS);
    try {
      await running.promise;
    } finally {
      clearTimeout(timer);
    }
  }
}
