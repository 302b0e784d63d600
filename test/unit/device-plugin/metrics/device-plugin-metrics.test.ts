import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import type { HugePages, NumaNode } from '../../../../device-plugin/discovery/index.ts';
import { type ResourceName, resourceName } from '../../../../device-plugin/kubelet/index.ts';
import { type Allocation, DevicePluginMetrics, type MetricSources } from '../../../../device-plugin/metrics/index.ts';
import { MemoryPool } from '../../../support/memory-pool.ts';

const RDMA = resourceName('nabustore.io/rdma');
const PREFIX = 'nabustore_device_plugin_';

const hugePages = (free: number | null): readonly HugePages[] => [
  {
    sizeBytes: 2 << 20,
    total: 10,
    free,
    reserved: 0,
    surplus: 0,
    overcommitLimit: 0,
    perNode: [{ numaNode: 1 as NumaNode, total: 10, free, surplus: 0 }],
  },
];

const NOTHING: MetricSources = { pools: () => [], isRegistered: () => false, hugePages: () => [] };
const make = (sources: Partial<MetricSources> = {}, clock = realClock): DevicePluginMetrics =>
  new DevicePluginMetrics({ version: '1.2.3', sources: { ...NOTHING, ...sources }, clock, logger: silentLogger });

/** The series of one metric, as they stand in the text, without the prefix of the name. */
async function series(metrics: DevicePluginMetrics, name: string): Promise<string[]> {
  const lines = (await metrics.exposition()).split('\n');
  return lines
    .filter((line) => new RegExp(`^${PREFIX}${name}[ {]`).test(line))
    .map((line) => line.slice(PREFIX.length));
}

const held = (pod: string, units = 1): Allocation => ({
  namespace: 'ai',
  pod,
  container: 'main',
  resource: RDMA,
  units,
});

describe('the figures of the device plugin', () => {
  it('count the units of each resource that is advertised now, by state', async () => {
    const pool = new MemoryPool(RDMA, 3);
    const pools = [pool];
    const metrics = make({ pools: () => pools, isRegistered: () => true });
    pool.setHealthy('dev-1', false);
    assert.deepEqual(await series(metrics, 'devices'), [
      'devices{resource="nabustore.io/rdma",state="healthy"} 2',
      'devices{resource="nabustore.io/rdma",state="unhealthy"} 1',
    ]);
    assert.deepEqual(await series(metrics, 'registered'), ['registered{resource="nabustore.io/rdma"} 1']);
    pools.pop();
    assert.deepEqual(await series(metrics, 'devices'), []);
    assert.deepEqual(await series(metrics, 'registered'), []);
  });

  it('count changes of health with their cause, registrations, Allocate calls and reloads', async () => {
    const metrics = make();
    metrics.healthChanged(RDMA, 'link');
    metrics.healthChanged(RDMA, 'link');
    metrics.healthChanged(RDMA, undefined);
    metrics.registered(RDMA, 'ok');
    metrics.allocated(RDMA, 0.2, 'ok');
    metrics.allocated(RDMA, 30, 'refused');
    metrics.reloaded('ok');
    metrics.reloaded('refused');
    assert.deepEqual(await series(metrics, 'health_changes_total'), [
      'health_changes_total{resource="nabustore.io/rdma",state="unhealthy",cause="link"} 2',
      'health_changes_total{resource="nabustore.io/rdma",state="healthy",cause="recovered"} 1',
    ]);
    assert.deepEqual(await series(metrics, 'registrations_total'), [
      'registrations_total{resource="nabustore.io/rdma",result="ok"} 1',
    ]);
    const buckets = await series(metrics, 'allocate_duration_seconds_bucket');
    assert(
      buckets.includes('allocate_duration_seconds_bucket{le="0.0001",resource="nabustore.io/rdma",result="ok"} 0'),
    );
    assert(
      buckets.includes('allocate_duration_seconds_bucket{le="0.00025",resource="nabustore.io/rdma",result="ok"} 1'),
    );
    assert(
      buckets.includes('allocate_duration_seconds_bucket{le="0.025",resource="nabustore.io/rdma",result="refused"} 0'),
    );
    assert.deepEqual(await series(metrics, 'config_reloads_total'), [
      'config_reloads_total{result="ok"} 1',
      'config_reloads_total{result="refused"} 1',
    ]);
    assert.deepEqual(await series(metrics, 'config_last_reload_successful'), ['config_last_reload_successful 0']);
  });

  it('say huge pages per NUMA node, and nothing where the machine does not', async () => {
    let free: number | null = 7;
    const metrics = make({ hugePages: () => hugePages(free) });
    assert.deepEqual(await series(metrics, 'huge_pages_free'), ['huge_pages_free{numa_node="1",page_size="2Mi"} 7']);
    assert.deepEqual(await series(metrics, 'huge_pages_total'), ['huge_pages_total{numa_node="1",page_size="2Mi"} 10']);
    free = null;
    assert.deepEqual(await series(metrics, 'huge_pages_free'), []);
  });

  it('do not grow without bound with the names of resources', async () => {
    const metrics = make();
    for (let at = 0; at < 500; at++) metrics.registered(`nabustore.io/rdma-${at}` as ResourceName, 'ok');
    const rows = await series(metrics, 'registrations_total');
    assert.equal(rows.length, 65);
    assert.equal(rows.at(-1), 'registrations_total{resource="others",result="ok"} 436');
  });

  it('are those that Prometheus expects of a process, with the version', async () => {
    const text = await make().exposition();
    assert.match(text, /^nabustore_device_plugin_build_info\{version="1\.2\.3"\} 1$/m);
    for (const name of ['cpu_seconds_total', 'resident_memory_bytes', 'open_fds', 'start_time_seconds']) {
      assert.match(text, new RegExp(`^process_${name} \\d`, 'm'));
    }
  });
});

describe('the figures of what pods hold', () => {
  it('are asked for when somebody looks, once in five seconds, and say how old they are', async () => {
    const clock = new SimClock();
    let asked = 0;
    const metrics = make({ allocations: { allocations: async () => [held(`pod-${asked++}`, 2)] } }, clock);
    assert.equal(asked, 0);
    const labels = (pod: string): string =>
      `{namespace="ai",pod="${pod}",container="main",resource="nabustore.io/rdma"}`;
    assert.deepEqual(await series(metrics, 'allocations'), [`allocations${labels('pod-0')} 2`]);
    await clock.advance(3000);
    assert.deepEqual(await series(metrics, 'allocations'), [`allocations${labels('pod-0')} 2`]);
    assert.deepEqual(await series(metrics, 'allocations_age_seconds'), ['allocations_age_seconds 3']);
    await clock.advance(3000);
    assert.deepEqual(await series(metrics, 'allocations'), [`allocations${labels('pod-1')} 2`]);
    assert.equal(asked, 2);
  });

  it('are the last known ones while the kubelet is slow, for five minutes, and then none', async () => {
    const clock = new SimClock();
    const answers = [Promise.resolve([held('pod-0')]), new Promise<Allocation[]>(() => undefined)];
    const rejected = Promise.reject(new RangeError('away'));
    rejected.catch(() => undefined);
    const metrics = make({ allocations: { allocations: () => answers.shift() ?? rejected } }, clock);
    assert.equal((await series(metrics, 'allocations')).length, 1);
    await clock.advance(10_000);
    const slow = series(metrics, 'allocations');
    await clock.advance(500);
    assert.equal((await slow).length, 1, 'half a second is all that a scrape waits');
    await clock.advance(5000);
    assert.deepEqual(await series(metrics, 'allocations_refreshes_total'), [
      'allocations_refreshes_total{result="ok"} 1',
      'allocations_refreshes_total{result="failed"} 2',
    ]);
    await clock.advance(5 * 60_000);
    assert.deepEqual(await series(metrics, 'allocations'), []);
    assert.deepEqual(await series(metrics, 'allocations_age_seconds'), []);
  });

  it('are at most 1,000, and say how many are left out', async () => {
    const many = Array.from({ length: 1200 }, (_, at) => held(`pod-${at}`));
    const metrics = make({ allocations: { allocations: async () => many } });
    assert.equal((await series(metrics, 'allocations')).length, 1000);
    assert.deepEqual(await series(metrics, 'allocations_left_out'), ['allocations_left_out 200']);
  });
});
