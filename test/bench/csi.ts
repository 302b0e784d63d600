// csi.create-delete: pairs of CreateVolume and DeleteVolume a second, 64 in flight, state on disk before the answer.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ClientOf, GrpcClient } from '../../common/grpc/index.ts';
import { layoutOf } from '../../common/layout/index.ts';
import { services } from '../../proto/gen/services.js';
import { ServerProcess } from './csi/server-process.ts';

type Controller = ClientOf<(typeof services)['csi.v1.Controller']>;

export type CsiRow = {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
  readonly method: string;
};

const IN_FLIGHT = 64;
const PRESENT = 1000;
const ROUND_MS = 2500;
const ROUNDS = 5;
const WARM_UP_MS = 1500;
const LIMIT = { timeoutMs: 60_000 };
const MIB = 1n << 20n;
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning'];

function script(name: string): string[] {
  return [...NODE_FLAGS, fileURLToPath(new URL(`./csi/${name}`, import.meta.url))];
}

let made = 0;

function creation(): Parameters<Controller['createVolume']>[0] {
  return {
    name: `pvc-bench-${process.pid}-${made++}`,
    capacityRange: { requiredBytes: 16n * MIB },
    volumeCapabilities: [{ mount: { fsType: 'ext4' }, accessMode: { mode: 1 } }],
  };
}

async function pairsPerSecond(controller: Controller, durationMs: number): Promise<number> {
  const startMs = performance.now();
  let pairs = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() - startMs < durationMs) {
      const { volume } = await controller.createVolume(creation(), LIMIT);
      await controller.deleteVolume({ volumeId: volume?.volumeId ?? '' }, LIMIT);
      pairs++;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
  return (pairs * 1000) / (performance.now() - startMs);
}

/** Interleaved, so that a slow moment of the machine meets both; medians. */
async function compare(ours: Controller, peer: Controller): Promise<{ ours: number; peer: number; ratio: number }> {
  for (const controller of [ours, peer]) await pairsPerSecond(controller, WARM_UP_MS);
  const rounds: { ours: number; peer: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({ ours: await pairsPerSecond(ours, ROUND_MS), peer: await pairsPerSecond(peer, ROUND_MS) });
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  return {
    ours: median(rounds.map((round) => round.ours)),
    peer: median(rounds.map((round) => round.peer)),
    ratio: median(rounds.map((round) => round.ours / round.peer)),
  };
}

async function fill(controller: Controller, count: number): Promise<void> {
  let left = count;
  const loop = async (): Promise<void> => {
    while (left-- > 0) await controller.createVolume(creation(), LIMIT);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
}

export async function csiRows(): Promise<CsiRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'nabu-bench-csi-'));
  const layout = layoutOf(folder);
  const peerSocket = join(folder, 'peer.sock');
  await mkdir(layout.control, { recursive: true });
  const processes: ServerProcess[] = [];
  const clients: GrpcClient[] = [];
  const connect = async (path: string): Promise<Controller> => {
    const client = new GrpcClient({ address: { kind: 'unix', path } });
    clients.push(client);
    await client.waitForReady(20_000);
    return client.service(services['csi.v1.Controller']);
  };
  try {
    const control = [...script('control-process.ts'), layout.control, layout.controlSocket];
    processes.push(await ServerProcess.start(process.execPath, control, { saysReady: true }));
    const nabu = [...NODE_FLAGS, fileURLToPath(new URL('../../cli/main.ts', import.meta.url))];
    const plugin = [...nabu, 'csi', '--dir', folder, '--mode', 'controller'];
    processes.push(await ServerProcess.start(process.execPath, plugin, { saysReady: false }));
    const nothing = [...script('do-nothing-server.ts'), peerSocket];
    processes.push(await ServerProcess.start(process.execPath, nothing, { saysReady: true }));
    const ours = await connect(layout.csiSocket);
    const peer = await connect(peerSocket);
    const method = `${IN_FLIGHT} in flight over one Unix socket; ours: plugin and control, state on disk before the answer; peer: a controller on grpc-js that does nothing; median of ${ROUNDS} interleaved rounds`;
    const unit = 'pairs/s';
    const rows: CsiRow[] = [{ name: 'csi.create-delete', unit, ...(await compare(ours, peer)), method }];
    await fill(ours, PRESENT);
    rows.push({
      name: 'csi.create-delete.1000-present',
      unit,
      ...(await compare(ours, peer)),
      method: `${method}; ${PRESENT} volumes present`,
    });
    const hostPath = await hostPathRow(rows, ours, connect);
    return hostPath === undefined ? rows : [...rows, hostPath];
  } finally {
    for (const client of clients) client.close();
    for (const child of processes) await child.kill();
    await rm(folder, { recursive: true, force: true });
  }

  /** csi-driver-host-path is not to be had everywhere: HOSTPATH_BIN names one. */
  async function hostPathRow(
    before: readonly CsiRow[],
    ours: Controller,
    reach: (path: string) => Promise<Controller>,
  ): Promise<CsiRow | undefined> {
    const program = process.env.HOSTPATH_BIN;
    if (program === undefined || before.length === 0) return undefined;
    const socket = join(folder, 'hostpath.sock');
    const state = join(folder, 'hostpath');
    await mkdir(state);
    const args = ['--endpoint', `unix://${socket}`, '--nodeid', 'bench', '--statedir', state, '--drivername', 'bench'];
    processes.push(await ServerProcess.start(program, args, { saysReady: false }));
    const peer = await reach(socket);
    await fill(peer, PRESENT);
    const method = `${IN_FLIGHT} in flight; peer: csi-driver-host-path; ${PRESENT} volumes present in both`;
    return { name: 'csi.create-delete.hostpath', unit: 'pairs/s', ...(await compare(ours, peer)), method };
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const row of await csiRows()) process.stdout.write(`${JSON.stringify(row)}\n`);
}
