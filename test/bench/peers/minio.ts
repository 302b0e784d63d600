import { access, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Child, output, ROOT } from '../process.ts';
import { type Bench, Missing } from '../provider.ts';

const VERSION = 'v0.0.0-20260212201848-7aac2a2c5b7c';
const DRIVES = 6;
const PARITY = 2;
const CREDENTIALS = { user: 'nabubench', password: 'nabubench-secret' };
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 100;

export type Load = {
  readonly op: 'put' | 'get';
  readonly bucket: string;
  readonly sizeBytes: number;
  readonly count: number;
  readonly inFlight: number;
};

const peersFolder = (): string => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'nabustore/peers');

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** Built once, kept in the user's cache folder: MinIO takes minutes to build. */
async function ensureBuilt({ scope, progress }: Bench): Promise<{ minio: string; load: string }> {
  const folder = peersFolder();
  const minio = join(folder, 'minio');
  const load = join(folder, 'minio-load');
  await mkdir(folder, { recursive: true });
  if (!(await exists(minio))) {
    progress(`building the peer MinIO into ${folder} (minutes, once)`);
    await go(scope, ['install', `github.com/minio/minio@${VERSION}`], folder);
  }
  // Go's own cache makes this quick when nothing changed.
  await go(scope, ['build', '-C', join(ROOT, 'test/bench/minio'), '-o', load, '.'], folder);
  return { minio, load };
}

async function go(scope: Bench['scope'], args: readonly string[], folder: string): Promise<void> {
  await output(scope, ['go', ...args], { GOBIN: folder, CGO_ENABLED: '0' }).catch((err: unknown) => {
    if (err instanceof Missing)
      throw new Missing('the peer MinIO needs the Go toolchain to build: go is not installed');
    throw new Missing(`the peer MinIO cannot be built: ${String(err)}`);
  });
}

/** A port that was free a moment ago: MinIO does not say which one it took for port 0. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}

/** One MinIO server over six folders of a disk with two of parity, and its own Go client: unsigned payload, no TLS. */
export class Minio {
  readonly #load: string;
  readonly #endpoint: string;
  readonly #bench: Bench;
  readonly server: Child;

  private constructor(bench: Bench, load: string, endpoint: string, server: Child) {
    this.#bench = bench;
    this.#load = load;
    this.#endpoint = endpoint;
    this.server = server;
  }

  static async start(bench: Bench): Promise<Minio> {
    const programs = await ensureBuilt(bench);
    const folder = await bench.scope.folder();
    const endpoint = `127.0.0.1:${await freePort()}`;
    const server = await Child.start(
      bench.scope,
      [programs.minio, 'server', '--quiet', '--address', endpoint, `${folder}/drive{1...${DRIVES}}`],
      {
        MINIO_ROOT_USER: CREDENTIALS.user,
        MINIO_ROOT_PASSWORD: CREDENTIALS.password,
        MINIO_STORAGE_CLASS_STANDARD: `EC:${PARITY}`,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
        MINIO_CI_CD: '1', // or it refuses folders of the disk that also holds /
      },
    );
    await Minio.#ready(endpoint);
    return new Minio(bench, programs.load, endpoint, server);
  }

  static async #ready(endpoint: string): Promise<void> {
    const end = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      const answer = await fetch(`http://${endpoint}/minio/health/cluster`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (Date.now() > end) throw new Error('MinIO is not ready after a minute');
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }

  /** GB/s of object bytes. */
  async run(load: Load): Promise<number> {
    const line = await output(this.#bench.scope, [
      this.#load,
      ...['-endpoint', this.#endpoint, '-access-key', CREDENTIALS.user, '-secret-key', CREDENTIALS.password],
      ...['-bucket', load.bucket, '-op', load.op, '-size', String(load.sizeBytes)],
      ...['-count', String(load.count), '-in-flight', String(load.inFlight)],
    ]);
    return (JSON.parse(line) as { gbPerSecond: number }).gbPerSecond;
  }
}
