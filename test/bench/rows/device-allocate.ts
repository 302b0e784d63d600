import { join } from 'node:path';
import type { ClientOf } from '../../../common/grpc/index.ts';
import { services } from '../../../proto/gen/kubelet.js';
import { connect, HCAS, startPluginNode } from '../plugin-node.ts';
import { Child, ROOT } from '../process.ts';
import { median, type Provider, row } from '../provider.ts';

type PluginClient = ClientOf<(typeof services)['v1beta1.DevicePlugin']>;

const RESOURCE = 'nabustore.io/rdma';
const DEVICES = 1000;
const SLOTS = DEVICES / HCAS.length;
const WARM_UP = 4000;
const CALLS = 2000;
const ROUNDS = 11;
const CALL = { timeoutMs: 30_000 };
const NODE: readonly [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** One after the other, as a kubelet calls; each device in its turn. In microseconds. */
async function latenciesUs(calls: PluginClient, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let at = 0; at < count; at++) {
    const id = `${HCAS[at % HCAS.length]}-${(at * 7) % SLOTS}`;
    const startMs = performance.now();
    await calls.allocate({ containerRequests: [{ devicesIds: [id] }] }, CALL);
    found.push(1000 * (performance.now() - startMs));
  }
  return found.sort((a, b) => a - b);
}

const p99 = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;

/** What a pod's start waits for in a device plugin. */
export const provider: Provider = {
  rows: ['device.allocate'],
  async *measure({ scope }) {
    const select = { pciAddresses: HCAS };
    const node = await startPluginNode(scope, [{ kind: 'rdma', slots: SLOTS, select }], { [RESOURCE]: DEVICES });
    const ours = node.kubelet.plugin(RESOURCE);
    const { containerResponses } = await ours.allocate({ containerRequests: [{ devicesIds: [`${HCAS[0]}-0`] }] }, CALL);
    const socket = join(await scope.folder(), 'peer.sock');
    const program = join(ROOT, 'test/bench/peers/device-do-nothing.ts');
    const nothing = await Child.start(scope, [...NODE, program, socket, JSON.stringify(containerResponses[0])]);
    await nothing.line();
    const peer = connect(scope, socket).service(services['v1beta1.DevicePlugin']);
    for (const calls of [ours, peer]) await latenciesUs(calls, WARM_UP);
    const found: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    for (let round = 0; round < ROUNDS; round++) {
      found.ours.push(p99(await latenciesUs(ours, CALLS)));
      found.peer.push(p99(await latenciesUs(peer, CALLS)));
    }
    const told =
      `p99 of Allocate of one of ${DEVICES} devices, one call after the other over a Unix socket, median of ${ROUNDS} ` +
      `interleaved rounds of ${CALLS}; ours: nabu device-plugin on the recorded H200 node, each call logged; peer: a server ` +
      'on grpc-js that gives the same answer and does nothing';
    yield row('device.allocate', 'us', median(found.ours), median(found.peer), told);
  },
};
