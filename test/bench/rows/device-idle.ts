import { readdirSync, readFileSync } from 'node:fs';
import { realClock } from '../../../common/ports/index.ts';
import { startPluginNode } from '../plugin-node.ts';
import { Child } from '../process.ts';
import { type Provider, row } from '../provider.ts';

const IDLE_MS = 60_000;
/** Longer than the plugin waits until it tidies up after its start. */
const SETTLE_MS = 25_000;
/** What it may take beyond a process that does nothing, which takes nothing. */
const ALLOWED_PERCENT = 0.2;
const RESOURCES = [
  { kind: 'rdma', slots: 100 },
  { kind: 'cufile', version: '1.16' },
  { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 64 << 20 },
];
/** Six HCAs, two NUMA nodes with GPUs. */
const EXPECTED = { 'nabustore.io/rdma': 600, 'nabustore.io/cufile': 32 };

/** CPU that all threads of a process have had, in nanoseconds (Documentation/scheduler/sched-stats.rst). */
function cpuNs(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const shares = tasks.map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]),
  );
  return shares.reduce((sum, share) => sum + share, 0);
}

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) / 1024;
}

/** What a node pays for a device plugin that has nothing to do. */
export const provider: Provider = {
  rows: ['device.idle', 'device.idle.rss'],
  async *measure({ scope }) {
    const { pid = 0 } = await startPluginNode(scope, RESOURCES, EXPECTED);
    const sleeper = await Child.start(scope, [process.execPath, '-e', 'setInterval(() => undefined, 2 ** 30)']);
    await realClock.sleep(SETTLE_MS);
    const before = { ours: cpuNs(pid), peer: cpuNs(sleeper.pid) };
    await realClock.sleep(IDLE_MS);
    const percent = (fromNs: number, toNs: number): number => (100 * (toNs - fromNs)) / (IDLE_MS * 1e6);
    const ours = percent(before.ours, cpuNs(pid));
    const peer = percent(before.peer, cpuNs(sleeper.pid));
    const told =
      `nabu device-plugin on the recorded H200 node, registered: 600 slots of HCAs, 32 of cuFile, huge pages; ${IDLE_MS / 1000} s ` +
      'without a call; peer: a Node process that sleeps and has loaded nothing';
    const cpuTold = `CPU of all threads; ${told}, plus the ${ALLOWED_PERCENT} % that the plugin may take`;
    yield row('device.idle', '% of a core', ours, peer + ALLOWED_PERCENT, cpuTold);
    const rssTold = `resident memory after it; ${told}`;
    yield row('device.idle.rss', 'MiB', residentMib(pid), residentMib(sleeper.pid), rssTold);
  },
};
