import { NabuError } from '../../../common/errors/index.ts';
import type { PidFile } from '../../../common/fs/index.ts';
import { realClock } from '../../../common/ports/index.ts';

const POLL_MS = 200;

/** Takes a lock as soon as nobody else has it; `onWait` hears once who has. Throws LOCK_HELD after `timeoutMs`. */
export async function untilHeld(
  acquire: () => Promise<PidFile>,
  timeoutMs: number,
  onWait: (holder: number) => void,
): Promise<PidFile> {
  const endMs = realClock.monotonicMs() + timeoutMs;
  for (let told = false; ; ) {
    try {
      return await acquire();
    } catch (err) {
      if (!NabuError.is(err, 'LOCK_HELD') || realClock.monotonicMs() >= endMs) throw err;
      if (!told) onWait(Number(err.fields.pid));
      told = true;
      await realClock.sleep(POLL_MS);
    }
  }
}
