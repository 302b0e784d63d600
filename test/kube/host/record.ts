import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { atomicWriteJson, readJsonFile } from '../../../common/fs/index.ts';

/** Of the machine: it has room for one cluster. */
export const LOCK_FILE = '/run/nabustore-kube.pid';
const RECORD_FILE = '/run/nabustore-kube.json';

/** Everything that has to be undone, written before it is done: whoever finds it can undo it. */
const recordSchema = z.strictObject({
  version: z.literal(1),
  /** The cluster's folder. */
  folder: z.string().startsWith('/'),
  cgroup: z.string().min(1),
  bridge: z.string().min(1),
  /** Below /proc/sys, with what was there before. */
  sysctls: z.record(z.string(), z.string()),
  /** Folders and files that were not there before. */
  made: z.array(z.string().startsWith('/')),
  /** Mounts outside of the cluster's folder. */
  mounted: z.array(z.string().startsWith('/')),
  /** How to reach the cluster, once it runs. */
  running: z
    .strictObject({
      node: z.string(),
      ports: z.strictObject({ etcd: z.int(), etcdPeer: z.int(), apiServer: z.int(), kubelet: z.int() }),
      featureGates: z.record(z.string(), z.boolean()),
      /** Stays when a test ends: it was started by hand. */
      byHand: z.boolean(),
    })
    .optional(),
});
export type HostRecord = z.output<typeof recordSchema>;

export async function readRecord(): Promise<HostRecord | undefined> {
  return await readJsonFile(RECORD_FILE, recordSchema);
}

export async function writeRecord(record: HostRecord): Promise<void> {
  await atomicWriteJson(RECORD_FILE, record);
}

export async function removeRecord(): Promise<void> {
  await rm(RECORD_FILE, { force: true });
}
