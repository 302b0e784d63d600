import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { interfaces } from './bridge.ts';
import { mounts } from './mounts.ts';

/** Folders of the machine that a Kubernetes writes to where nobody stops it. */
const FOLDERS = [
  '/etc',
  '/opt',
  '/run/containerd',
  '/run/netns',
  '/sys/fs/cgroup',
  '/usr/libexec',
  '/var/lib',
  '/var/log',
];
const SYSCTLS = ['kernel', 'kernel/keys', 'net/ipv4', 'net/ipv4/conf/all', 'net/ipv6/conf/all', 'vm'];
/** Change by themselves. */
const RESTLESS = new RegExp(
  '^(kernel/(ns_last_pid|perf_event_max_sample_rate|tainted|hung_task_detect_count)|' +
    'vm/(stat_refresh|compact_memory|drop_caches))$',
);
const OURS = /nabu-kube|kubepods/;

/** What of this machine a cluster could change, as lines that can be compared. */
export async function snapshot(): Promise<string[]> {
  return (
    await Promise.all([
      mounts().then((all) => all.map(({ at, type }) => `mount ${at} ${type}`)),
      interfaces().then((names) => names.map((name) => `interface ${name}`)),
      ...FOLDERS.map(namesIn),
      ...SYSCTLS.map(valuesIn),
      processes(),
      groups('/sys/fs/cgroup', 4),
      namesIn('/tmp').then((names) => names.filter((name) => OURS.test(name))),
    ])
  )
    .flat()
    .sort();
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
}

async function valuesIn(folder: string): Promise<string[]> {
  const entries = await readdir(join('/proc/sys', folder), { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => entry.isFile()).map((entry) => join(folder, entry.name));
  return await Promise.all(
    names
      .filter((name) => !RESTLESS.test(name))
      .map(async (name) => `${name} ${await readFile(join('/proc/sys', name), 'utf8').catch(() => '')}`),
  );
}

/** Of ours: others come and go. */
async function processes(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines
    .map((line) => line.replaceAll('\0', ' '))
    .filter((line) => /\/tmp\/nabu-kube-|kube-v1|down\.ts/.test(line));
}

async function groups(folder: string, depth: number): Promise<string[]> {
  if (depth === 0) return [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  const deeper = await Promise.all(below.map((path) => groups(path, depth - 1)));
  return [...below.filter((path) => OURS.test(path)), ...deeper.flat()];
}
