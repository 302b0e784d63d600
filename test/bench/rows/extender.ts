import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../../common/ports/index.ts';
import { freePorts } from '../../kube/cluster/ports.ts';
import { bigCluster, fullNode, nodeName } from '../../support/extender/big-cluster.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';
import {
  claimObject,
  classObject,
  csiNodeObject,
  nodeObject,
  podObject,
  volumeObject,
} from '../../support/extender/objects.ts';
import { get } from '../../support/extender/served.ts';
import { Child, ROOT } from '../process.ts';
import { type Bench, median, type Provider, type Row, row } from '../provider.ts';

const NODES = 5000;
const PODS = 50_000;
const CLAIMS = 20_000;
const NODE: readonly [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning'];
const MIB = 1 << 20;
const READY_MS = 120_000;
const ORDERS = 16;
const SWAPPED_SHARE = 0.2;

class Asker {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Milliseconds from the first byte sent to the last received. */
  ask(verb: string, body: Buffer): Promise<number> {
    const startMs = performance.now();
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    return new Promise((resolve, reject) => {
      const asked = request(
        { host: '127.0.0.1', port: this.#port, path: `/${verb}`, method: 'POST', headers, agent: this.#agent },
        (answer) => {
          if (answer.statusCode !== 200) reject(new Error(`/${verb} answered ${answer.statusCode}`));
          answer.on('data', () => undefined);
          answer.once('end', () => resolve(performance.now() - startMs));
        },
      );
      asked.once('error', reject);
      asked.end(body);
    });
  }
}

async function startServer(bench: Bench, mode: 'ours' | 'empty'): Promise<Asker> {
  const child = await Child.start(bench.scope, [...NODE, join(ROOT, 'test/bench/peers/extender.ts'), mode]);
  const asker = new Asker(Number(await child.line()));
  bench.scope.defer(`the connection to ${mode}`, () => asker.close());
  return asker;
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))];
  if (found === undefined) throw new Error('the p99 of nothing');
  return found;
}

const pod = podObject('p', { claims: ['c'], annotations: { 'nabustore.io/models': 'llama' } });

/** Interleaved call by call, so that a slow moment of the machine meets both; the median of the rounds' p99. */
async function interleaved(
  rounds: number,
  calls: number,
  ours: () => Promise<number>,
  peer: () => Promise<number>,
): Promise<{ ours: number; peer: number; middle: string }> {
  for (let at = 0; at < calls; at++) {
    await ours();
    await peer();
  }
  const p99s: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  const all: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round < rounds; round++) {
    const times: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
    for (let at = 0; at < calls; at++) {
      times.ours.push(await ours());
      times.peer.push(await peer());
    }
    p99s.ours.push(p99(times.ours));
    p99s.peer.push(p99(times.peer));
    all.ours.push(...times.ours);
    all.peer.push(...times.peer);
  }
  const middle = `median call ${median(all.ours).toFixed(3)}, of the peer ${median(all.peer).toFixed(3)} ms`;
  return { ours: median(p99s.ours), peer: median(p99s.peer), middle };
}

/** As a scheduler lists nodes: from another one on each time, and neighbours change places because it looks at several at once. */
function orders(names: readonly string[]): string[][] {
  const random = new SeededRandom(5);
  return Array.from({ length: ORDERS }, (_, order) => {
    const from = Math.floor((order * names.length) / ORDERS);
    const list = [...names.slice(from), ...names.slice(0, from)];
    for (let at = 0; at + 1 < list.length; at++) {
      const [one, next] = [list[at], list[at + 1]];
      if (one === undefined || next === undefined || random.float() > SWAPPED_SHARE) continue;
      list[at] = next;
      list[at + 1] = one;
    }
    return list;
  });
}

async function namesRow(bench: Bench): Promise<Row> {
  const [ours, empty] = [await startServer(bench, 'ours'), await startServer(bench, 'empty')];
  const { names } = bigCluster(NODES);
  const bodies = orders(names).map((order) => Buffer.from(JSON.stringify({ Pod: pod, Nodes: null, NodeNames: order })));
  let at = 0;
  const both = async (asker: Asker): Promise<number> => {
    // Twice in a row, ours and the peer's, with the same.
    const body = bodies[(at++ >> 1) % bodies.length] ?? Buffer.alloc(0);
    return (await asker.ask('filter', body)) + (await asker.ask('prioritize', body));
  };
  const found = await interleaved(
    7,
    200,
    () => both(ours),
    () => both(empty),
  );
  const method = `p99 of one filter and one prioritize call for a pod with a claim and a model, ${NODES} names in an order that changes from pod to pod; peer: the same two calls to the same server with a handler that reads the body and does nothing; median of 7 rounds of 200, interleaved; ${found.middle}`;
  return row('extender.filter+prioritize.names', 'ms', found.ours, found.peer, method);
}

async function fullRow(bench: Bench): Promise<Row> {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-bench-extender-'));
  bench.scope.defer(folder, () => rmSync(folder, { recursive: true, force: true }));
  const items = Array.from({ length: NODES }, (_, at) => fullNode(at));
  const body = Buffer.from(JSON.stringify({ Pod: pod, Nodes: { metadata: {}, items }, NodeNames: null }));
  const path = join(folder, 'body.json');
  writeFileSync(path, body);
  const ours = await startServer(bench, 'ours');
  const json = await Child.start(bench.scope, [...NODE, join(ROOT, 'test/bench/peers/extender.ts'), 'json', path]);
  await json.line();
  const found = await interleaved(
    7,
    20,
    () => ours.ask('filter', body),
    async () => Number(await json.ask('again')),
  );
  const method = `p99 of a filter call over HTTP with ${NODES} whole nodes, ${(body.length / NODES / 1000).toFixed(2)} kB each, all of which come back; peer: JSON.parse and JSON.stringify of the same body in a process of its own, no network; median of 7 rounds of 20, interleaved; ${found.middle}`;
  return row('extender.full-nodes', 'ms', found.ours, found.peer, method);
}

/** Memory of a process that nobody asks anything, in MiB: what it needed while it listed, and what it has when it is ready. */
async function memoryOf(bench: Bench, server: FakeApiServer): Promise<{ rss: number; peak: number }> {
  const folder = await bench.scope.folder();
  const kubeconfig = join(folder, 'kubeconfig');
  server.writeKubeconfig(kubeconfig);
  const { health } = await freePorts(['health']);
  const flags = [
    '--kubeconfig',
    kubeconfig,
    '--listen',
    '127.0.0.1:0',
    '--health',
    `127.0.0.1:${health}`,
    '--log-level',
    'error',
  ];
  const child = await Child.start(bench.scope, [...NODE, join(ROOT, 'cli/main.ts'), 'scheduler-extender', ...flags]);
  const untilMs = performance.now() + READY_MS;
  for (let status = 0; status !== 200; ) {
    child.throwIfEnded();
    if (performance.now() > untilMs) throw new Error('the extender was not ready in time');
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = await get(health, '/readyz').then(
      (answer) => answer.status,
      () => 0,
    );
  }
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const mib = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024) / MIB;
  const found = { rss: mib('VmRSS'), peak: mib('VmHWM') };
  await child.stop();
  return found;
}

/** As a kubelet and a Deployment make them: about 5 kB, of which the extender keeps a twentieth. */
function fatPod(at: number): ReturnType<typeof podObject> {
  const small = podObject(`pod-${at}`, {
    node: nodeName(at % NODES),
    phase: 'Running',
    ...(at < CLAIMS ? { claims: [`claim-${at}`] } : {}),
  });
  const env = Array.from({ length: 40 }, (_, index) => ({
    name: `VARIABLE_${index}`,
    value: `value of ${index} for ${at}`,
  }));
  return {
    ...small,
    spec: {
      ...(small.spec as object),
      env,
      containers: [{ name: 'main', image: 'example.com/image:1', env, command: ['run'] }],
    },
  };
}

async function memoryRow(bench: Bench): Promise<Row> {
  const nothing = await FakeApiServer.start();
  bench.scope.defer('the API server without objects', () => nothing.close());
  const full = await FakeApiServer.start();
  bench.scope.defer('the API server with objects', () => full.close());
  for (let at = 0; at < NODES; at++) {
    full.put('/api/v1/nodes', {
      ...fullNode(at),
      ...{ metadata: { ...(nodeObject(nodeName(at)).metadata as object) } },
    });
    full.put('/apis/storage.k8s.io/v1/csinodes', csiNodeObject(nodeName(at), 128));
  }
  full.put('/apis/storage.k8s.io/v1/storageclasses', classObject('fast'));
  for (let at = 0; at < CLAIMS; at++) {
    full.put('/api/v1/persistentvolumeclaims', claimObject(`claim-${at}`, { volume: `pv-${at}` }));
    full.put('/api/v1/persistentvolumes', volumeObject(`pv-${at}`, { zones: ['a', 'b', 'c'] }));
  }
  for (let at = 0; at < PODS; at++) full.put('/api/v1/pods', fatPod(at));
  const empty = await memoryOf(bench, nothing);
  const ours = await memoryOf(bench, full);
  const perPod = ((ours.rss - empty.rss) * MIB) / PODS;
  const method = `RSS of nabu scheduler-extender when it is ready, from an API server with ${NODES} nodes, ${PODS} pods and ${CLAIMS} claims with their volumes; ${Math.round(ours.peak)} MiB at most while it listed; ${Math.round(perPod)} bytes more per pod, all the rest included; peer: the same with an empty cluster`;
  return row('extender.memory', 'MiB', ours.rss, empty.rss, method);
}

/** What a scheduler waits for, and what the extender costs the machine that it runs on. */
export const provider: Provider = {
  rows: ['extender.filter+prioritize.names', 'extender.full-nodes', 'extender.memory'],
  async *measure(bench) {
    if (bench.wants('extender.filter+prioritize.names')) yield await namesRow(bench);
    if (bench.wants('extender.full-nodes')) yield await fullRow(bench);
    if (bench.wants('extender.memory')) yield await memoryRow(bench);
  },
};
