import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

const MACHINE = pathToFileURL(join(import.meta.dirname, '../../../../device-plugin/machine')).href;
/** Opens both, looks at something, and closes neither. */
const LEFT_OPEN = `
  const { ThreadedPulse } = await import('${MACHINE}/pulse/native.ts');
  const { NetlinkEvents } = await import('${MACHINE}/netlink/native.ts');
  const events = new NetlinkEvents();
  events.listen(() => undefined);
  const pulse = new ThreadedPulse({ everyMs: 1, hangMs: 1000, onNews: () => undefined });
  const waiting = setInterval(() => undefined, 1000);
  await pulse.watch([{ kind: 'text', path: '/proc/uptime' }], AbortSignal.timeout(10_000));
  clearInterval(waiting);
`;

describe('the native parts of a machine that is watched', function () {
  this.timeout(30_000);

  it('hold no process that has nothing else to do, and let it end in order', async () => {
    const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', LEFT_OPEN];
    const { stderr } = await promisify(execFile)(process.execPath, flags, { timeout: 20_000 });
    assert.equal(stderr, '');
  });

  it('end with the worker that they were opened in, while they are at work', async () => {
    for (let i = 0; i < 5; i++) {
      const source = `const { parentPort } = await import('node:worker_threads'); ${LEFT_OPEN}
        parentPort.postMessage('open'); setInterval(() => undefined, 1000);`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
      await once(worker, 'message');
      assert.equal(await worker.terminate(), 1);
    }
  });
});
