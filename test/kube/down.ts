// Takes away what a test cluster whose process has died left on this machine. Does nothing where there is none, nor where
// somebody else has the lock: who takes it cleans up first.
// usage: down.ts
import { PidFile } from '../../common/fs/index.ts';
import { LOCK_FILE } from './host/record.ts';
import { restoreHost } from './host/restore.ts';
import { until } from './host/until.ts';

/** The dead process may not be gone entirely. */
const GONE_MS = 2000;

const lock = await until('the lock', GONE_MS, () => PidFile.acquire(LOCK_FILE)).catch(() => undefined);
try {
  if (lock !== undefined) await restoreHost();
} finally {
  await lock?.release();
}
