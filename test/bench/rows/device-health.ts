import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, realRandom } from '../../../common/ports/index.ts';
import { resourceConfigSchema } from '../../../device-plugin/config/index.ts';
import { HealthTracker } from '../../../device-plugin/health/index.ts';
import { KubeletPlugin, resourceName } from '../../../device-plugin/kubelet/index.ts';
import { endpointOf } from '../../../device-plugin/kubelet/resource-name.ts';
import { openEventSource } from '../../../device-plugin/machine/event-source.ts';
import { LiveMachine } from '../../../device-plugin/machine/index.ts';
import { type HostPaths, MachinePool, rdmaKind } from '../../../device-plugin/resources/index.ts';
import { services } from '../../../proto/gen/kubelet.js';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { isMarker, MachineTree } from '../../support/machine-tree.ts';
import { connect, HCAS } from '../plugin-node.ts';
import { type Bench, Missing, median, type Provider, row } from '../provider.ts';

const DEVICES = 1000;
const CHANGES = 15;
const READY_MS = 30_000;
/** Writing to it makes the kernel tell everybody of the device again (Documentation/ABI/testing/sysfs-uevent). */
const UEVENT = '/sys/class/misc/fuse/uevent';
const STATE = 'sys/class/infiniband/mlx5_0/ports/1/state';

type Watched = { readonly tree: MachineTree; readonly unhealthy: () => number; readonly lastMs: () => number };

/** Discovery, health and the kubelet's protocol in this process; a gRPC stream over a socket at its end. */
async function watched({ scope }: Bench, hasEvents: boolean): Promise<Watched> {
  const tree = new MachineTree(h200);
  scope.defer('a recorded machine', () => tree[Symbol.dispose]());
  const state = await scope.folder();
  const folder = join(state, 'device-plugins');
  mkdirSync(folder);
  const parts = { clock: realClock, logger: silentLogger };
  const machine = new LiveMachine({
    ...parts,
    roots: tree.roots,
    discovery: { isCharDevice: isMarker },
    openEvents: (roots) => openEventSource(hasEvents ? { ...roots, sysfsRoot: '/sys' } : roots),
  });
  scope.defer('the watched machine', () => machine.close());
  await machine.start();
  if (hasEvents && !machine.state.hasEvents)
    throw new Missing(`no events of the kernel: ${machine.state.gaps.join('; ')}`);
  const paths: HostPaths = {
    roots: tree.roots,
    devRootInHost: '/dev',
    stateDir: state,
    stateDirInHost: state,
    cdiDir: state,
    udevDirInHost: '/run/udev',
  };
  const config = resourceConfigSchema.parse({
    kind: 'rdma',
    slots: DEVICES / HCAS.length,
    select: { pciAddresses: HCAS },
  });
  if (config.kind !== 'rdma') throw new RangeError(config.kind);
  const pool = new MachinePool({
    kind: rdmaKind(config, paths, []),
    machine,
    health: new HealthTracker({ ...parts, recoverMs: 0 }),
    withheld: () => undefined,
    logger: silentLogger,
  });
  const plugin = new KubeletPlugin({ ...parts, folder, random: realRandom });
  scope.defer('the plugin', () => plugin.close());
  await plugin.start();
  plugin.serve(pool);
  return follow(scope, folder, tree);
}

async function follow(scope: Bench['scope'], folder: string, tree: MachineTree): Promise<Watched> {
  const socket = join(folder, endpointOf(resourceName('nabustore.io/rdma')));
  await eventually('the socket is there', () => existsSync(socket), READY_MS);
  const gone = new AbortController();
  scope.defer('the stream', () => gone.abort());
  let unhealthy = -1;
  let lastMs = 0;
  const run = async (): Promise<void> => {
    const lists = connect(scope, socket).service(services['v1beta1.DevicePlugin']).listAndWatch({}, gone);
    for await (const { devices } of lists) {
      lastMs = performance.now();
      unhealthy = devices.filter(({ health }) => health !== 'Healthy').length;
    }
  };
  run().catch((err: unknown) => {
    if (!gone.signal.aborted) throw err;
  });
  await eventually(
    'the first list',
    () => unhealthy === 0,
    READY_MS,
    () => unhealthy,
  );
  return { tree, unhealthy: () => unhealthy, lastMs: () => lastMs };
}

/** From the change until the list with it has come, in milliseconds. */
async function delaysMs({ tree, unhealthy, lastMs }: Watched, tell: () => void): Promise<number[]> {
  const delays: number[] = [];
  for (let change = 0; change < CHANGES; change++) {
    // Where in a poll it comes must not be always the same.
    await realClock.sleep(1500 + (change * 1000) / CHANGES);
    const startMs = performance.now();
    writeFileSync(tree.at(STATE), '1: DOWN\n');
    tell();
    await eventually('the list with the change', () => unhealthy() > 0, READY_MS);
    delays.push(lastMs() - startMs);
    writeFileSync(tree.at(STATE), '4: ACTIVE\n');
    tell();
    await eventually('the list as before', () => unhealthy() === 0, READY_MS);
  }
  return delays;
}

/** How long pods may be given a device after its link has gone. */
export const provider: Provider = {
  rows: ['device.health'],
  async *measure(bench) {
    if (!existsSync(UEVENT)) throw new Missing(`${UEVENT} is not there: no event can be made`);
    const events = await watched(bench, true);
    const ours = await delaysMs(events, () => writeFileSync(UEVENT, 'change'));
    const polled = await watched(bench, false);
    const peer = await delaysMs(polled, () => undefined);
    const told =
      `from a port's change of state to the ListAndWatch update of ${DEVICES} devices at a client's socket, median of ` +
      `${CHANGES}, worst ${Math.max(...ours).toFixed(0)} and ${Math.max(...peer).toFixed(0)} ms; ours: the kernel's event, a ` +
      'whole discovery of the recorded H200 node, 50 ms of waiting for more events; peer: the same process without events, ' +
      'which looks every second';
    yield row('device.health', 'ms', median(ours), median(peer), told);
  },
};
