import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

describe('native volume in a thread that ends', () => {
  it('goes down with requests in flight and takes nothing with it', async () => {
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(new URL('./native-worker.ts', import.meta.url));
      const [message] = await once(worker, 'message');
      assert.equal(message, 'waiting');
      await worker.terminate();
    }
  });
});
