import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mounts } from './mounts.ts';
import { type HostRecord, writeRecord } from './record.ts';
import { run } from './run.ts';

const HUGETLB_CGROUP = '/sys/fs/cgroup/hugetlb';

/** The kubelet sets these to its own taste and leaves them so; a CNI bridge turns forwarding on. */
const KEPT_SYSCTLS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
  'net/ipv4/ip_forward',
  'vm/nr_hugepages',
];

/** Paths that the kubelet, containerd and CNI have in their code; what of them was there before stays. */
const FIXED_PATHS = [
  '/var/lib/kubelet',
  '/var/lib/kubelet/device-plugins',
  '/var/lib/cni',
  '/var/log/containers',
  '/var/log/pods',
  '/run/containerd',
  '/run/containerd/s',
];

const sysctlPath = (name: string): string => join('/proc/sys', name);

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** Changes to the machine, each written down before it is made. */
export class HostChanges {
  #record: HostRecord;

  constructor(record: HostRecord) {
    this.#record = record;
  }

  get record(): HostRecord {
    return this.#record;
  }

  async write(change: Partial<HostRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    await writeRecord(this.#record);
  }

  /** What others of the cluster will change without asking. */
  async remember(): Promise<void> {
    const present = await Promise.all(FIXED_PATHS.map(exists));
    const sysctls: Record<string, string> = {};
    for (const name of KEPT_SYSCTLS) {
      const before = await readFile(sysctlPath(name), 'utf8').catch(() => undefined);
      if (before !== undefined) sysctls[name] = before.trim();
    }
    await this.write({ sysctls, made: FIXED_PATHS.filter((_, index) => present[index] === false) });
  }

  /** Only up: pages that another program holds stay its own. Throws where the kernel has no memory for them. */
  async reserveHugePages(pages: number): Promise<void> {
    const path = sysctlPath('vm/nr_hugepages');
    const now = async (): Promise<number> => Number(await readFile(path, 'utf8'));
    if ((await now()) >= pages) return;
    await writeFile(path, String(pages));
    const got = await now();
    if (got < pages)
      throw new Error(`the kernel gave ${got} of ${pages} huge pages: too little free memory in one piece`);
  }

  async forwardPackets(): Promise<void> {
    await writeFile(sysctlPath('net/ipv4/ip_forward'), '1');
  }

  /** The controller that holds a pod to its huge pages, where the machine has the first version and does not use it. */
  async mountHugetlbController(): Promise<void> {
    const all = await mounts();
    const hasFirst = all.some(({ type }) => type === 'cgroup');
    const isMounted = all.some(({ type, options }) => type === 'cgroup' && options.includes('hugetlb'));
    if (!hasFirst || isMounted) return;
    const made = (await exists(HUGETLB_CGROUP)) ? [] : [HUGETLB_CGROUP];
    await this.write({ mounted: [HUGETLB_CGROUP], made: [...this.#record.made, ...made] });
    await mkdir(HUGETLB_CGROUP, { recursive: true });
    await run('mount', ['-t', 'cgroup', '-o', 'hugetlb', 'cgroup', HUGETLB_CGROUP]);
  }

  /** A mount of its own that tells its peers of mounts below it: what a pod mounts there, the host sees, and the other way. */
  async shareFolder(): Promise<void> {
    const { folder } = this.#record;
    await run('mount', ['--bind', folder, folder]);
    await run('mount', ['--make-private', folder]);
    await run('mount', ['--make-shared', folder]);
  }
}
