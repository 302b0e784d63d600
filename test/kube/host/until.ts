import { realClock } from '../../../common/ports/index.ts';

const POLL_MS = 50;

/**
 * Waits until `look` answers with something else than undefined, and resolves with that. Rejects at the deadline with `what`,
 * and with the last thing that went wrong: what cannot be looked at yet is waited for too.
 */
export async function until<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const endMs = realClock.monotonicMs() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await look();
      if (answer !== undefined) return answer;
      cause = undefined;
    } catch (err) {
      if (err instanceof Hopeless) throw err;
      cause = err;
    }
    if (realClock.monotonicMs() >= endMs) {
      const last = cause instanceof Error ? `: ${cause.message}` : '';
      throw new Error(`not within ${timeoutMs / 1000} s: ${what}${last}`, { cause });
    }
    await realClock.sleep(POLL_MS);
  }
}

/** Thrown by `look` where waiting is of no use. */
export class Hopeless extends Error {}
