import type { IncomingMessage } from 'node:http';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';

export type BodyLimits = {
  /** Of one body. */
  readonly bodyBytes: number;
  /** Of all bodies that are being received at one time. */
  readonly totalBytes: number;
  /** From the headers to the last byte. */
  readonly timeoutMs: number;
};

export type WholeBody = { readonly bytes: Buffer; readonly sinceMs: number };

/** Without a length in the headers, how much is asked for at first. */
const FIRST_BYTES = 64 << 10;

/**
 * Receives bodies whole, into memory that was asked for before: at most so much for all of them, so that many large requests at one
 * time are refused instead of ending the process.
 */
export class BodyReader {
  readonly #clock: Clock;
  readonly #limits: BodyLimits;
  #takenBytes = 0;

  constructor(clock: Clock, limits: BodyLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Bytes of memory that bodies hold now. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Throws MESSAGE_TOO_LARGE, QUEUE_FULL, TIMEOUT, CANCELLED. The memory is given back with `release`. */
  async read(request: IncomingMessage): Promise<WholeBody> {
    const sinceMs = this.#clock.monotonicMs();
    const told = Number(request.headers['content-length'] ?? Number.NaN);
    let bytes = this.#take(undefined, Number.isSafeInteger(told) && told >= 0 ? told : FIRST_BYTES);
    let length = 0;
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = this.#clock.setTimer(() => {
          reject(NabuError.of('TIMEOUT', { operation: 'receiving the request', timeoutMs: this.#limits.timeoutMs }));
        }, this.#limits.timeoutMs);
        let isSettled = false;
        const settle = (end: () => void): void => {
          if (isSettled) return; // each request closes in the end: no error is made for that
          isSettled = true;
          timer.cancel();
          end();
        };
        request.on('data', (chunk: Buffer) => {
          try {
            if (length + chunk.length > bytes.length) bytes = this.#grown(bytes, length, length + chunk.length);
            chunk.copy(bytes, length);
            length += chunk.length;
          } catch (err) {
            request.pause();
            settle(() => reject(err));
          }
        });
        request.once('end', () => settle(resolve));
        const cut = (): void => settle(() => reject(NabuError.of('CANCELLED', { operation: 'the request' })));
        request.once('error', cut);
        request.once('close', cut);
      });
    } catch (err) {
      this.#takenBytes -= bytes.length;
      throw err;
    }
    this.#takenBytes -= bytes.length - length;
    return { bytes: bytes.subarray(0, length), sinceMs };
  }

  release({ bytes }: WholeBody): void {
    this.#takenBytes -= bytes.length;
  }

  #grown(bytes: Buffer, length: number, needed: number): Buffer {
    const larger = this.#take(
      bytes,
      Math.min(Math.max(needed, bytes.length * 2), Math.max(needed, this.#limits.bodyBytes)),
    );
    bytes.copy(larger, 0, 0, length);
    return larger;
  }

  /** In place of what was taken before. */
  #take(before: Buffer | undefined, sizeBytes: number): Buffer {
    const { bodyBytes, totalBytes } = this.#limits;
    if (sizeBytes > bodyBytes) throw NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes, limitBytes: bodyBytes });
    const further = sizeBytes - (before?.length ?? 0);
    if (this.#takenBytes + further > totalBytes) {
      throw NabuError.of('QUEUE_FULL', { queue: 'memory for request bodies', limit: totalBytes });
    }
    this.#takenBytes += further;
    return Buffer.allocUnsafe(sizeBytes);
  }
}
