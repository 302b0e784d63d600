// Takes away what a test cluster whose process has died left on this machine. Does nothing where there is none; waits for the
// lock, as the dead process may not be gone entirely.
// usage: down.ts
import { PidFile } from '../../common/fs/index.ts';
import { untilHeld } from './host/lock.ts';
import { LOCK_FILE } from './host/record.ts';
import { restoreHost } from './host/restore.ts';

const WAIT_MS = 10_000;

const lock = await untilHeld(
  () => PidFile.acquire(LOCK_FILE),
  WAIT_MS,
  (pid) => process.stdout.write(`kube: the cluster of process ${pid} runs\n`),
);
try {
  await restoreHost();
} finally {
  await lock.release();
}
