import { X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import { NabuError } from '../errors/index.ts';
import type { Logger } from '../logging/index.ts';
import type { Clock, Timer } from '../ports/index.ts';

/** A certificate chain and its key, PEM. */
export type TlsPair = { readonly cert: Buffer; readonly key: Buffer };

export type TlsFilesOptions = {
  readonly certPath: string;
  readonly keyPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** A Secret holds at most this much (Kubernetes, MaxSecretSize). */
const LIMIT_BYTES = 1 << 20;
/** Where no event tells: a kubelet replaces a Secret's files within a minute or so of its change. */
const POLL_MS = 10_000;
/** Both files are replaced by one rename, but other writers replace one after the other. */
const SETTLE_MS = 200;

async function readBounded(path: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size <= LIMIT_BYTES) return await readFile(path);
  } catch (err) {
    const code: unknown = Reflect.get(Object(err), 'code');
    throw NabuError.of(
      'FILE_INVALID',
      { path, reason: code === 'ENOENT' ? 'it is not there' : String(code) },
      { cause: err },
    );
  }
  throw NabuError.of('FILE_INVALID', { path, reason: `it has more than ${LIMIT_BYTES} bytes` });
}

/** Throws FILE_INVALID: a server with a pair that does not fit together would refuse every handshake. */
function checkPair(certPath: string, pair: TlsPair): void {
  try {
    createSecureContext(pair);
    new X509Certificate(pair.cert);
  } catch (err) {
    const reason = 'it is no certificate in PEM, or the key is not its own';
    throw NabuError.of('FILE_INVALID', { path: certPath, reason }, { cause: err });
  }
}

/** The certificate that the API server sees, read again when its files change: cert-manager renews it every few weeks. */
export class TlsFiles {
  readonly #options: TlsFilesOptions;
  #pair: TlsPair;
  #watchers: FSWatcher[] = [];
  #timer: Timer | undefined;
  #isClosed = false;
  #reading: Promise<void> = Promise.resolve();
  #cause: string | undefined;
  #listener: (pair: TlsPair) => void = () => undefined;

  private constructor(options: TlsFilesOptions, pair: TlsPair) {
    this.#options = options;
    this.#pair = pair;
  }

  /** Throws FILE_INVALID when the files cannot be used. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const files = new TlsFiles(options, await TlsFiles.#read(options));
    files.#watch();
    files.#schedule(POLL_MS);
    return files;
  }

  get pair(): TlsPair {
    return this.#pair;
  }

  /** The listener gets this pair, and each that replaces it. */
  follow(listener: (pair: TlsPair) => void): void {
    this.#listener = listener;
    listener(this.#pair);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const watcher of this.#watchers.splice(0)) watcher.close();
    await this.#reading;
  }

  static async #read({ certPath, keyPath }: TlsFilesOptions): Promise<TlsPair> {
    const pair = { cert: await readBounded(certPath), key: await readBounded(keyPath) };
    checkPair(certPath, pair);
    return pair;
  }

  /** The folders, not the files: a Secret's files are links that are replaced. Without events the poll alone finds a change. */
  #watch(): void {
    const { certPath, keyPath, logger } = this.#options;
    for (const folder of new Set([dirname(certPath), dirname(keyPath)])) {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#schedule(SETTLE_MS));
        watcher.on('error', () => watcher.close());
        this.#watchers.push(watcher);
      } catch (err) {
        logger.warn('the folder of the certificate cannot be watched: it is polled', { folder, error: err });
      }
    }
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(() => {
      this.#schedule(POLL_MS);
      this.#reading = this.#reading.then(() => this.#look());
    }, delayMs);
  }

  async #look(): Promise<void> {
    const { logger } = this.#options;
    try {
      const pair = await TlsFiles.#read(this.#options);
      this.#cause = undefined;
      if (pair.cert.equals(this.#pair.cert) && pair.key.equals(this.#pair.key)) return;
      this.#pair = pair;
      this.#listener(pair);
      logger.info('the certificate was replaced', { validTo: new X509Certificate(pair.cert).validTo });
    } catch (err) {
      const cause = err instanceof Error ? err.message : String(err);
      if (cause !== this.#cause) logger.warn('the new certificate is of no use: the one before stays', { error: err });
      this.#cause = cause;
    }
  }
}
