import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClientOf, GrpcClient } from '../../../common/grpc/index.ts';
import { type Layout, layoutOf } from '../../../common/layout/index.ts';
import { ControlClient } from '../../../engine/control/index.ts';
import { services } from '../../../proto/gen/services.js';
import { Child, ROOT } from '../process.ts';
import { type Bench, Missing, median, type Provider, type Row, row } from '../provider.ts';

type Controller = ClientOf<(typeof services)['csi.v1.Controller']>;

const IN_FLIGHT = 64;
const PRESENT = 1000;
const ROUND_MS = 2_500;
const ROUNDS = 7;
const WARM_UP_MS = 2_500;
const READY_MS = 20_000;
const CALL = { timeoutMs: 60_000 };
const VOLUME_BYTES = 16n << 20n;
const NODES = 6;
const TIB = 1024 ** 4;
const NODE: readonly [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning'];

let made = 0;

function creation(): Parameters<Controller['createVolume']>[0] {
  return {
    name: `pvc-bench-${process.pid}-${made++}`,
    capacityRange: { requiredBytes: VOLUME_BYTES },
    volumeCapabilities: [{ mount: { fsType: 'ext4' }, accessMode: { mode: 1 } }],
  };
}

function inParallel(work: () => Promise<void>): Promise<unknown> {
  return Promise.all(Array.from({ length: IN_FLIGHT }, work));
}

async function pairsPerSecond(controller: Controller, durationMs: number): Promise<number> {
  const startMs = performance.now();
  let pairs = 0;
  await inParallel(async () => {
    while (performance.now() - startMs < durationMs) {
      const { volume } = await controller.createVolume(creation(), CALL);
      await controller.deleteVolume({ volumeId: volume?.volumeId ?? '' }, CALL);
      pairs++;
    }
  });
  return (pairs * 1000) / (performance.now() - startMs);
}

async function fill(controller: Controller): Promise<void> {
  let left = PRESENT;
  await inParallel(async () => {
    while (left-- > 0) await controller.createVolume(creation(), CALL);
  });
}

/** Interleaved, so that a slow moment of the machine meets both. */
async function compare(name: string, ours: Controller, peer: Controller, method: string): Promise<Row> {
  for (const controller of [ours, peer]) await pairsPerSecond(controller, WARM_UP_MS);
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.ours.push(await pairsPerSecond(ours, ROUND_MS));
    rates.peer.push(await pairsPerSecond(peer, ROUND_MS));
  }
  const told = `pairs of CreateVolume and DeleteVolume, ${IN_FLIGHT} in flight over one Unix socket, median of ${ROUNDS} interleaved rounds; ours: plugin and control processes, state on disk before the answer; ${method}`;
  return row(name, 'pairs/s', median(rates.ours), median(rates.peer), told);
}

async function connect(bench: Bench, path: string): Promise<Controller> {
  const client = new GrpcClient({ address: { kind: 'unix', path } });
  bench.scope.defer(path, () => client.close());
  await client.waitForReady(READY_MS);
  return client.service(services['csi.v1.Controller']);
}

/** Creating and deleting moves no data, so storage nodes need only be known to control. */
async function registerNodes(layout: Layout): Promise<void> {
  const control = new ControlClient({ kind: 'unix', path: layout.controlSocket });
  try {
    await control.waitForReady(READY_MS);
    for (let at = 0; at < NODES; at++) {
      const node = { nodeId: `node-${at}`, address: { host: '127.0.0.1', port: 1 + at }, capacityBytes: 64 * TIB };
      await control.registerNode(node, CALL);
    }
  } finally {
    control.close();
  }
}

async function startOurs(bench: Bench): Promise<Controller> {
  const folder = await bench.scope.folder();
  const layout = layoutOf(folder);
  const nabu = (...args: string[]) => Child.start(bench.scope, [...NODE, join(ROOT, 'cli/main.ts'), ...args]);
  await nabu('control', '--dir', folder, '--log-level', 'warn');
  await registerNodes(layout);
  await nabu('csi', '--dir', folder, '--mode', 'controller', '--log-level', 'warn');
  return await connect(bench, layout.csiSocket);
}

async function startNothing(bench: Bench): Promise<Controller> {
  const socket = join(await bench.scope.folder(), 'peer.sock');
  const server = join(ROOT, 'test/bench/peers/csi-do-nothing.ts');
  await Child.start(bench.scope, [...NODE, server, socket]);
  return await connect(bench, socket);
}

/** csi-driver-host-path is not to be had everywhere: HOSTPATH_BIN names one. */
async function startHostPath(bench: Bench): Promise<Controller> {
  const program = process.env.HOSTPATH_BIN;
  if (program === undefined) throw new Missing('HOSTPATH_BIN names no csi-driver-host-path');
  const folder = await bench.scope.folder();
  const socket = join(folder, 'csi.sock');
  await mkdir(join(folder, 'state'));
  const where = ['--endpoint', `unix://${socket}`, '--statedir', join(folder, 'state')];
  await Child.start(bench.scope, [program, ...where, '--nodeid', 'bench', '--drivername', 'bench.csi.k8s.io']);
  return await connect(bench, socket);
}

/** What an orchestrator waits for when many claims come at once. */
export const provider: Provider = {
  rows: ['csi.create-delete', 'csi.create-delete.1000-present', 'csi.create-delete.host-path'],
  async *measure(bench) {
    const ours = await startOurs(bench);
    const nothing = await startNothing(bench);
    const doesNothing = 'peer: a controller on grpc-js that does nothing';
    yield await compare('csi.create-delete', ours, nothing, doesNothing);
    await fill(ours);
    const withThousand = `${doesNothing}; ${PRESENT} volumes present`;
    yield await compare('csi.create-delete.1000-present', ours, nothing, withThousand);
    const hostPath = await startHostPath(bench);
    await fill(hostPath);
    const method = `peer: csi-driver-host-path; ${PRESENT} volumes present in both`;
    yield await compare('csi.create-delete.host-path', ours, hostPath, method);
  },
};
