import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { KubeletPlugin } from '../../../device-plugin/kubelet/index.ts';
import type { v1beta1 } from '../../../proto/gen/messages.js';
import { KubeletDouble } from '../../support/kubelet-double.ts';
import { MemoryPool } from '../../support/memory-pool.ts';

const BOUND_MS = 2000;
const COUNT = 1000;

describe('the device plugin with 1,000 devices', () => {
  let root: string;
  let kubelet: KubeletDouble;
  let plugin: KubeletPlugin;
  let pool: MemoryPool;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    kubelet = new KubeletDouble(join(root, 'device-plugins'));
    plugin = new KubeletPlugin({
      folder: kubelet.folder,
      clock: realClock,
      random: new SeededRandom(3),
      logger: silentLogger,
    });
    pool = new MemoryPool('nabustore.io/rdma', COUNT);
    await kubelet.start();
    await plugin.start();
    plugin.serve(pool);
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
  });

  afterEach(async () => {
    await plugin.close();
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('says all of them in one message, each once, with its node', () => {
    const [list, ...more] = kubelet.lists(pool.resource);
    assert.deepEqual(more, []);
    assert.equal(list?.length, COUNT);
    assert.equal(new Set(list?.map(({ ID }) => ID)).size, COUNT);
    assert.deepEqual(list?.[999]?.topology, { nodes: [{ ID: 1n }] });
  });

  it('says a change of all of them in one message', async () => {
    for (let at = 0; at < COUNT; at++) pool.setHealthy(`dev-${at}`, false);
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    assert.equal(kubelet.lists(pool.resource).length, 2);
  });

  it('gives each of them to one of 1,000 containers, 64 calls at a time', async () => {
    const calls = kubelet.plugin(pool.resource);
    const given: string[] = [];
    const ids = Array.from({ length: COUNT }, (_, at) => `dev-${at}`);
    const worker = async (): Promise<void> => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
        const request = { containerRequests: [{ devicesIds: [id] }] };
        const answer = await calls.allocate(request, { timeoutMs: BOUND_MS });
        given.push(...answer.containerResponses.flatMap(({ devices }) => devices.map((one) => one.containerPath)));
      }
    };
    await Promise.all(Array.from({ length: 64 }, worker));
    assert.deepEqual(
      given.sort(),
      pool.expected.map((id) => `/dev/${id}`),
    );
  });

  it('prefers among all of them', async () => {
    const availableDeviceIDs = pool.expected;
    const wanted = { availableDeviceIDs, mustIncludeDeviceIDs: ['dev-500'], allocationSize: 8 };
    const answer = await kubelet
      .plugin(pool.resource)
      .getPreferredAllocation({ containerRequests: [wanted] }, { timeoutMs: BOUND_MS });
    assert.equal(answer.containerResponses[0]?.deviceIDs.length, 8);
    assert.equal(answer.containerResponses[0]?.deviceIDs[0], 'dev-500');
  });

  it('keeps only the newest list for a reader that does not read', async () => {
    const changes = 500;
    const gone = new AbortController();
    const slow: AsyncIterator<v1beta1.ListAndWatchResponse> = kubelet
      .plugin(pool.resource)
      .listAndWatch({}, gone)
      [Symbol.asyncIterator]();
    await slow.next();
    for (let at = 0; at < changes; at++) {
      pool.setHealthy('dev-0', at % 2 === 1);
      pool.setHealthy('dev-1', at % 2 === 0);
      await turn();
      await turn();
    }
    pool.add('the-last');
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    let read = 0;
    for (let isLast = false; !isLast; read++) {
      const next = await slow.next();
      assert.ok(next.done !== true);
      isLast = next.value.devices.some(({ ID }) => ID === 'the-last');
    }
    gone.abort();
    // The reader's own library holds 16, and a few are on their way.
    assert.ok(read < 32, `${read} lists were kept`);
  });
});
