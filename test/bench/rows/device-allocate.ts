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
const TURN = 25;
const ROUNDS = 11;
const CALL = { timeoutMs: 30_000 };
const NODE: readonly [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** In microseconds. */
async function latencyUs(calls: PluginClient, at: number): Promise<number> {
  const id = `${HCAS[at % HCAS.length]}-${(at * 7) % SLOTS}`;
  const startMs = performance.now();
  await calls.allocate({ containerRequests: [{ devicesIds: [id] }] }, CALL);
  return 1000 * (performance.now() - startMs);
}

/**
 * One call after the other, as a kubelet calls. In short turns, so that a slow moment of the machine meets both; each of many
 * calls, so that what one leaves to do after its answer is its own next call's to wait for, and not the other's.
 */
async function p99Us(all: readonly PluginClient[], count: number): Promise<number[]> {
  const found = all.map((): number[] => []);
  for (let from = 0; from < count; from += TURN) {
    for (const [which, calls] of all.entries()) {
      for (let at = from; at < from + TURN; at++) found[which]?.push(await latencyUs(calls, at));
    }
  }
  return found.map(p99);
}

function p99(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN;
}

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
    await p99Us([ours, peer], WARM_UP);
    const found: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    for (let round = 0; round < ROUNDS; round++) {
      const [own = Number.NaN, other = Number.NaN] = await p99Us([ours, peer], CALLS);
      found.ours.push(own);
      found.peer.push(other);
    }
    const told =
      `p99 of Allocate of one of ${DEVICES} devices, one call after the other over Unix sockets, in turns of ${TURN}, median of ` +
      `${ROUNDS} rounds of ${CALLS}; ours: nabu device-plugin on the recorded H200 node, each call logged; peer: a server ` +
      'on grpc-js that gives the same answer and does nothing';
    yield row('device.allocate', 'us', median(found.ours), median(found.peer), told);
  },
};
