import { lstat, readdir } from 'node:fs/promises';
import { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import type { Layout } from '../common/layout/index.ts';
import { silentLogger } from '../common/logging/index.ts';
import { realClock } from '../common/ports/index.ts';
import { runCommand } from '../common/process/index.ts';
import { KEEPER_PROGRAM, KeeperClient } from '../engine/volume/index.ts';
import { CONTROL, CSI, LocalCluster } from './cluster.ts';
import { CsiClient } from './csi-client.ts';
import { DetachedProcesses } from './detached.ts';
import { hostedVolumes } from './hosted-volumes.ts';
import { readMounts } from './mounts.ts';

const KEEPER_SOCKET = /^keeper-(\d+)\.sock$/;
const UNMOUNT_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 30_000;

/**
 * Ends a cluster on this machine in the order that loses nothing: file systems, volumes, the CSI plugin, keepers with their
 * volume servers, storage nodes, control. Returns what was ended. What does not go in good order within its time is ended all the same.
 */
export async function takeDown(layout: Layout): Promise<string[]> {
  const cluster = new LocalCluster(layout, realClock);
  const processes = new DetachedProcesses(layout, realClock);
  const ended: string[] = [];
  const stop = async (name: string): Promise<void> => {
    if (await cluster.stop(name)) ended.push(name);
  };
  if ((await processes.running(CSI)) !== undefined) await unmountAll(layout);
  await stop(CSI);
  for (const slot of await keeperSlots(layout)) if (await shutDownKeeper(layout, slot)) ended.push(`keeper-${slot}`);
  const names = (await processes.names()).filter((name) => name !== CONTROL && name !== CSI);
  await Promise.all(names.map(stop));
  await stop(CONTROL);
  await clearLeftovers(layout);
  return ended;
}

/** Takes away what a crash left: mounts below the folder, and the devices of keepers that are gone. */
export async function clearLeftovers(layout: Layout): Promise<void> {
  const living = new Set<number>();
  for (const slot of await keeperSlots(layout)) if (await isKeeperAlive(layout, slot)) living.add(slot);
  if (living.size > 0) return; // what is mounted is served
  const mounts = await readMounts();
  const own = mounts.filter(
    ({ target }) => target.startsWith(`${layout.mounts}/`) || target.startsWith(`${layout.csi}/`),
  );
  for (const { target } of own.reverse()) await command('umount', '--lazy', target);
  for (const state of await keeperStates(layout)) await command(KEEPER_PROGRAM, '--cleanup', state);
}

async function unmountAll(layout: Layout): Promise<void> {
  const hosted = await hostedVolumes(layout, []);
  const mounts = await readMounts();
  using csi = new CsiClient(layout);
  using deadline = new Deadline({ clock: realClock, operation: 'unmounting', timeoutMs: UNMOUNT_TIMEOUT_MS });
  for (const { volumeId, devicePath } of hosted.values()) {
    const targets = mounts
      .filter(({ source, target }) => source === devicePath && !target.startsWith(layout.csi))
      .map(({ target }) => target);
    await deadline.race(csi.unmount(volumeId, targets)).catch((err: unknown) => {
      if (!NabuError.is(err)) throw err;
      process.stderr.write(`nabu: volume ${volumeId} is taken away without a flush: ${err.message}\n`);
    });
  }
}

async function keeperSlots(layout: Layout): Promise<number[]> {
  const files = await readdir(layout.run).catch(() => []);
  return files.flatMap((file) => KEEPER_SOCKET.exec(file)?.[1] ?? []).map(Number);
}

async function isKeeperAlive(layout: Layout, slot: number): Promise<boolean> {
  const keeper = await connectKeeper(layout, slot);
  keeper?.close();
  return keeper !== undefined;
}

/** Undefined when nobody listens. */
async function connectKeeper(layout: Layout, slot: number): Promise<KeeperClient | undefined> {
  const path = layout.keeperSocket(slot);
  if (!((await lstat(path).catch(() => undefined))?.isSocket() ?? false)) return undefined;
  let keeper: KeeperClient | undefined;
  try {
    keeper = KeeperClient.connect(path, { clock: realClock });
    await keeper.ping();
    return keeper;
  } catch (err) {
    keeper?.close();
    if (NabuError.is(err)) return undefined;
    throw err;
  }
}

async function shutDownKeeper(layout: Layout, slot: number): Promise<boolean> {
  const keeper = await connectKeeper(layout, slot);
  if (keeper === undefined) return false;
  try {
    const { pid } = await keeper.ping();
    await keeper.shutdown({ force: true });
    using deadline = new Deadline({
      clock: realClock,
      operation: `ending keeper ${slot}`,
      timeoutMs: COMMAND_TIMEOUT_MS,
    });
    await new DetachedProcesses(layout, realClock).waitUntilGone(pid, deadline);
    return true;
  } finally {
    keeper.close();
  }
}

async function keeperStates(layout: Layout): Promise<string[]> {
  const files = await readdir(layout.volumes, { withFileTypes: true }).catch(() => []);
  return files
    .filter((file) => file.isDirectory() && file.name.startsWith('slot-'))
    .map((file) => `${file.parentPath}/${file.name}`);
}

async function command(program: string, ...args: string[]): Promise<void> {
  using deadline = new Deadline({ clock: realClock, operation: program, timeoutMs: COMMAND_TIMEOUT_MS });
  await runCommand([program, ...args], { deadline, logger: silentLogger });
}
