import type { BlobKey } from '../../engine/blob/index.ts';

/** One try at putting or deleting; times are of the simulated clock, `endMs` infinite while it is on its way. */
type Attempt = {
  readonly kind: 'put' | 'delete';
  readonly startMs: number;
  endMs: number;
  isDone: boolean;
  isOver: boolean;
};

/** What a read of a blob may say, given everything that was tried. */
export type Allowed = {
  /** Its bytes. Never any others, whatever happened. */
  readonly bytes: boolean;
  /** That it is proven not to be there. */
  readonly absent: boolean;
};

/** One immutable blob and what its clients were told about it. */
export class BlobLedger {
  readonly key: BlobKey;
  readonly data: Buffer;
  /** Rot, or a lost device, took something of it. */
  isHarmed = false;
  readonly #attempts: Attempt[] = [];

  constructor(key: BlobKey, data: Buffer) {
    this.key = key;
    this.data = data;
  }

  /** Earlier deletes that failed, and may still happen, do no harm to what is put from now on. */
  settleDeletes(nowMs: number): void {
    for (const attempt of this.#attempts) {
      if (attempt.kind === 'delete' && attempt.isOver) attempt.endMs = Math.min(attempt.endMs, nowMs);
    }
  }

  get wasEverDeleted(): boolean {
    return this.#attempts.some(({ kind }) => kind === 'delete');
  }

  /** A put or delete begins; call what is returned when it ends: never, for one that may still happen. */
  begin(kind: Attempt['kind'], startMs: number): (endMs: number, isDone: boolean) => void {
    const attempt = { kind, startMs, endMs: Number.POSITIVE_INFINITY, isDone: false, isOver: false };
    this.#attempts.push(attempt);
    return (endMs, isDone) => Object.assign(attempt, { endMs, isDone, isOver: true });
  }

  /** Acknowledged before `atMs`, and no delete was tried that could have come after the put. */
  isKept(atMs: number): boolean {
    return this.#attempts.some(
      (put) =>
        put.kind === 'put' &&
        put.isDone &&
        put.endMs <= atMs &&
        !this.#attempts.some((other) => other.kind === 'delete' && other.endMs > put.startMs),
    );
  }

  /** A delete was on its way at or after `sinceMs`. */
  mayBeDeletedSince(sinceMs: number): boolean {
    return this.#attempts.some(({ kind, endMs }) => kind === 'delete' && endMs >= sinceMs);
  }

  /** A delete was confirmed before `atMs`, and no put was tried that could have come after it. */
  isGone(atMs: number): boolean {
    return this.#attempts.some(
      (gone) =>
        gone.kind === 'delete' &&
        gone.isDone &&
        gone.endMs <= atMs &&
        !this.#attempts.some((other) => other.kind === 'put' && other.endMs >= gone.startMs),
    );
  }

  /** Of a read from `fromMs` until now; everything tried until now is known. */
  allowed(fromMs: number): Allowed {
    const tried = this.#attempts.some(({ kind }) => kind === 'put');
    return { bytes: tried && !this.isGone(fromMs), absent: !this.isKept(fromMs) };
  }
}
