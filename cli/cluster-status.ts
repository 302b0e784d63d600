import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { NabuError } from '../common/errors/index.ts';
import { readJsonFile } from '../common/fs/index.ts';
import type { Layout } from '../common/layout/index.ts';
import { ControlClient, type Volume } from '../engine/control/index.ts';
import type { MapNode } from '../engine/placement/index.ts';
import type { nabustore } from '../proto/gen/messages.js';
import { CsiClient } from './csi-client.ts';
import type { DetachedProcesses } from './detached.ts';
import { hostedVolumes } from './hosted-volumes.ts';
import { readMounts } from './mounts.ts';
import { readNodeStats } from './node-stats.ts';

export type DeviceStatus = { readonly path: string; readonly capacityBytes: number; readonly usedBytes: number };
export type NodeStatus = {
  readonly id: string;
  /** up: answers. down: does not. Others as the cluster map says. */
  readonly state: string;
  readonly pid: number | null;
  readonly devices: readonly DeviceStatus[];
  /** ok, full, read-only or failed, as its store says; null while it is down. */
  readonly store: string | null;
  readonly fencesComplete: boolean | null;
  readonly degradedShards: number | null;
};
export type VolumeStatus = {
  readonly id: string;
  readonly name: string;
  readonly policy: string;
  readonly sizeBytes: number;
  readonly mountPath: string | null;
  /** ok, degraded, opening, waiting, failed, detached or deleting. */
  readonly health: string;
  readonly devicePath: string | null;
  readonly reason: string;
  readonly waitingOn: readonly {
    readonly operation: string;
    readonly key: string;
    readonly nodes: readonly string[];
    readonly reason: string;
  }[];
  readonly unreachableNodes: readonly string[];
};
export type ClusterStatus = {
  /** Control answers, and the CSI driver says that it can serve. */
  readonly ready: boolean;
  readonly csiEndpoint: string;
  readonly mapEpoch: number;
  readonly nodes: readonly NodeStatus[];
  readonly volumes: readonly VolumeStatus[];
  /** What cannot be asked, in words. */
  readonly problems: readonly string[];
};

const CALL_TIMEOUT_MS = 3_000;
const VOLUME_PAGE = 500;

const nodeRecordSchema = z.object({ devicePath: z.string().optional() });

/** Asks everybody once; whoever does not answer is shown as such. Never throws for a part that is away. */
export async function collectStatus(layout: Layout, processes: DetachedProcesses): Promise<ClusterStatus> {
  const control = new ControlClient({ kind: 'unix', path: layout.controlSocket });
  const problems: string[] = [];
  try {
    const map = await control.getMap({ timeoutMs: CALL_TIMEOUT_MS }).catch(noting(problems, 'control'));
    const [nodes, volumes, csiReady] = await Promise.all([
      Promise.all((map?.nodes ?? []).map((node) => nodeStatus(layout, processes, map?.clusterId ?? '', node))),
      volumeStatuses(layout, control, problems),
      isCsiReady(layout, problems),
    ]);
    const down = new Set(nodes.filter(({ state }) => state === 'down').map(({ id }) => id));
    return {
      ready: map !== undefined && csiReady,
      csiEndpoint: `unix://${layout.csiSocket}`,
      mapEpoch: map?.epoch ?? 0,
      nodes,
      volumes: volumes.map((volume) => withLostNodes(volume, down)),
      problems,
    };
  } finally {
    control.close();
  }
}

function noting(problems: string[], who: string): (err: unknown) => undefined {
  return (err) => {
    if (!NabuError.is(err)) throw err;
    problems.push(`${who}: ${err.message}`);
    return undefined;
  };
}

async function isCsiReady(layout: Layout, problems: string[]): Promise<boolean> {
  using csi = new CsiClient(layout);
  return (await csi.ready().catch(noting(problems, 'csi'))) ?? false;
}

async function nodeStatus(
  layout: Layout,
  processes: DetachedProcesses,
  clusterId: string,
  node: MapNode,
): Promise<NodeStatus> {
  const record = await readJsonFile(layout.node(node.id).record, nodeRecordSchema).catch(() => undefined);
  const identity = await processes.running(node.id);
  const stats = await readNodeStats(clusterId, node, CALL_TIMEOUT_MS);
  return {
    id: node.id,
    state: stats === undefined ? 'down' : node.state,
    pid: identity?.pid ?? null,
    devices: [
      {
        path: record?.devicePath ?? layout.node(node.id).device,
        capacityBytes: stats?.capacityBytes ?? node.capacityBytes ?? 0,
        usedBytes: stats?.usedBytes ?? 0,
      },
    ],
    store: stats?.state ?? null,
    fencesComplete: stats?.fencesComplete ?? null,
    degradedShards: stats?.degraded ?? null,
  };
}

type PlacedVolume = VolumeStatus & { readonly homeSet: readonly string[] };

async function volumeStatuses(layout: Layout, control: ControlClient, problems: string[]): Promise<PlacedVolume[]> {
  const hosted = await hostedVolumes(layout, problems);
  const mounts = await readMounts();
  const found: PlacedVolume[] = [];
  for (let pageToken = ''; ; ) {
    const page = await control
      .listVolumes({ pageToken, limit: VOLUME_PAGE }, { timeoutMs: CALL_TIMEOUT_MS })
      .catch(noting(problems, 'control'));
    for (const volume of page?.volumes ?? []) {
      const host = hosted.get(volume.id);
      const device = host?.devicePath ?? '';
      const own = mounts.filter((mount) => device !== '' && mount.source === device);
      const target = own.find((mount) => !mount.target.startsWith(layout.csi))?.target;
      found.push(volumeStatus(volume, host, target ?? own[0]?.target));
    }
    if (page === undefined || page.nextPageToken === '') return found;
    pageToken = page.nextPageToken;
  }
}

/** A volume serves on without some of its nodes; that it does should be seen. */
function withLostNodes(volume: PlacedVolume, down: ReadonlySet<string>): VolumeStatus {
  const { homeSet, ...status } = volume;
  const lost = [...new Set([...status.unreachableNodes, ...homeSet.filter((node) => down.has(node))])];
  return {
    ...status,
    unreachableNodes: lost,
    health: status.health === 'ok' && lost.length > 0 ? 'degraded' : status.health,
  };
}

function volumeStatus(
  volume: Volume,
  host: nabustore.v1.HostedVolume | undefined,
  mountPath: string | undefined,
): PlacedVolume {
  return {
    id: volume.id,
    name: volume.name,
    policy: volume.policy,
    sizeBytes: Number(volume.sizeBytes),
    mountPath: mountPath ?? null,
    health: healthOf(volume, host),
    devicePath: host === undefined || host.devicePath === '' ? null : host.devicePath,
    reason: host?.reason ?? '',
    waitingOn: host?.waitingOn ?? [],
    unreachableNodes: host?.unreachableNodes ?? [],
    homeSet: volume.homeSet,
  };
}

function healthOf(volume: Volume, host: nabustore.v1.HostedVolume | undefined): string {
  if (volume.state === 'deleting') return 'deleting';
  if (host === undefined) return 'detached';
  if (host.state !== 'serving') return host.state;
  return 'ok';
}

/** The last lines of a process's log, for a failure that is told on a terminal. */
export async function logTail(layout: Layout, name: string, lines: number): Promise<string> {
  const text = await readFile(layout.logFile(name), 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
