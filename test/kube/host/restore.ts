import { readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { interfaces, removeBridge } from './bridge.ts';
import { Cgroup } from './cgroups.ts';
import { mountsBelow, unmountBelow } from './mounts.ts';
import { type HostRecord, readRecord, removeRecord } from './record.ts';
import { removeDeadShimSockets } from './shim-sockets.ts';

/** Ends what a recorded cluster left, and puts the machine back as it was. Whoever calls it holds the lock. */
export async function restoreHost(): Promise<void> {
  const record = await readRecord();
  if (record === undefined) return;
  const cgroup = await Cgroup.named(record.cgroup);
  await cgroup.kill();
  await removeDeadShimSockets();
  await unmountBelow(record.folder);
  await removeBridge(record.bridge);
  await cgroup.remove();
  for (const point of [...record.mounted].reverse()) await unmountBelow(point);
  for (const [name, before] of Object.entries(record.sysctls)) await restoreSysctl(join('/proc/sys', name), before);
  for (const path of [...record.made].reverse()) await removeMade(path);
  await removeMade(record.folder);
  const left = await leftovers(record);
  if (left.length > 0) throw new Error(`a test cluster left: ${left.join(', ')}`);
  await removeRecord();
}

async function restoreSysctl(path: string, before: string): Promise<void> {
  if ((await readFile(path, 'utf8')).trim() !== before) await writeFile(path, before);
}

/** Nothing through a mount: what is mounted there is somebody's. */
async function removeMade(path: string): Promise<void> {
  const points = await mountsBelow(path);
  if (points.length > 0) throw new Error(`${path} has mounts of somebody else: ${points.join(', ')}`);
  const isThere = (await stat(path).catch(() => undefined)) !== undefined;
  if (!isThere) return;
  if (path.startsWith('/sys/')) await rmdir(path);
  else await rm(path, { recursive: true, force: true });
}

/** What is there still of all that the record names. */
async function leftovers(record: HostRecord): Promise<string[]> {
  const cgroup = await Cgroup.named(record.cgroup);
  const paths = await Promise.all(
    [...record.made, record.folder].map(async (path) => ((await stat(path).catch(() => undefined)) ? [path] : [])),
  );
  return [
    ...(await cgroup.members()).map((pid) => `process ${pid}`),
    ...(await cgroup.leftovers()),
    ...(await mountsBelow(record.folder)),
    ...(await interfaces()).filter((name) => name === record.bridge),
    ...paths.flat(),
  ];
}
