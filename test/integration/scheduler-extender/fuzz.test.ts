import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { isErrorCode } from '../../../common/errors/index.ts';
import { SeededRandom } from '../../../common/ports/index.ts';
import { fullNode, nodeName } from '../../support/extender/big-cluster.ts';
import { podObject, TestCluster } from '../../support/extender/objects.ts';
import { type HttpAnswer, post, Served } from '../../support/extender/served.ts';

const BODIES = 100_000;
const IN_FLIGHT = 16;
const SEED = 0x5eed;
const MIB = 1 << 20;

/** Values that code which expects something else trips over. */
const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  'x',
  '\u0000',
  '\ud800',
  [],
  {},
  [null],
  [[]],
  { name: null },
  '10Gi',
  '-1',
  'n'.repeat(5000),
  { metadata: { name: 'n1' } },
  { __proto__: null },
  2 ** 53,
  'toString',
  '__proto__',
];

function pick<T>(random: SeededRandom, list: readonly T[]): T {
  const found = list[random.uint32() % list.length];
  if (found === undefined) throw new RangeError('nothing to pick from');
  return found;
}

/** One place somewhere in the value is replaced, left out or doubled. */
function mutated(random: SeededRandom, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random.uint32() % 4 === 0)
    return ODD[random.uint32() % ODD.length];
  if (Array.isArray(value)) {
    const at = value.length === 0 ? 0 : random.uint32() % value.length;
    const copy = [...value];
    const how = random.uint32() % 4;
    if (how === 0) copy.splice(at, 1);
    else if (how === 1) copy.splice(at, 0, copy[at]);
    else copy[at] = mutated(random, copy[at]);
    return copy;
  }
  const keys = Object.keys(value);
  if (keys.length === 0) return { x: ODD[random.uint32() % ODD.length] };
  const key = pick(random, keys);
  const copy: Record<string, unknown> = { ...value };
  if (random.uint32() % 5 === 0) delete copy[key];
  else copy[key] = mutated(random, copy[key]);
  return copy;
}

/** Bytes are flipped, cut off, or put in twice. */
function damaged(random: SeededRandom, bytes: Buffer): Buffer {
  const at = random.uint32() % Math.max(1, bytes.length);
  const how = random.uint32() % 3;
  if (how === 0) return bytes.subarray(0, at);
  if (how === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 5))]);
  const copy = Buffer.from(bytes);
  for (let flips = 1 + (random.uint32() % 4); flips > 0; flips--)
    copy[random.uint32() % copy.length] = random.uint32() & 0xff;
  return copy;
}

type Shot = { readonly path: string; readonly body: Buffer };

function shots(random: SeededRandom): () => Shot {
  const nodes = [0, 1, 2, 40].map(nodeName);
  const own = {
    storageClassName: 'fast',
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '3Gi' } },
  };
  const annotations = {
    'nabustore.io/models': 'llama,unheard',
    'nabustore.io/kv-cache': 'pool',
    'nabustore.io/near': 'claim:u,group:g,x',
    'nabustore.io/locality': 'preferred',
  };
  const pods = [
    podObject('a', {
      claims: ['c', 'u'],
      annotations,
      devices: { 'nabustore.io/rdma': 1 },
      tolerations: [{ key: 'k', operator: 'Exists' }],
    }),
    podObject('b', {
      ephemeral: [{ name: 'scratch', spec: own }],
      annotations: { ...annotations, 'nabustore.io/locality': 'required' },
    }),
    podObject('c', { claims: ['gone-class', 'foreign'], nominated: nodeName(1) }),
    podObject('d', { claims: ['unheard'] }),
  ];
  const victims = {
    [nodeName(0)]: { Pods: [{ UID: 'uid-user' }], NumPDBViolations: 0 },
    x: { Pods: [{ metadata: { uid: 'y' } }] },
  };
  return () => {
    const pod = pick(random, pods);
    const path = pick(random, ['/filter', '/prioritize', '/preempt', '/filter', '/prioritize', '/prioritize?explain']);
    const lists = [
      { Pod: pod, Nodes: null, NodeNames: [...nodes, 'stranger', ...nodes.slice(0, random.uint32() % 4)] },
      { Pod: pod, Nodes: { metadata: {}, items: [fullNode(0), fullNode(40), fullNode(0)] }, NodeNames: null },
    ];
    const kinds = [
      { Pod: pod, NodeNameToMetaVictims: victims },
      { Pod: pod, NodeNameToVictims: victims },
    ];
    let value: unknown = path === '/preempt' ? pick(random, kinds) : pick(random, lists);
    for (let times = random.uint32() % 4; times > 0; times--) value = mutated(random, value);
    const bytes = Buffer.from(JSON.stringify(value) ?? '');
    return { path, body: random.uint32() % 3 === 0 ? damaged(random, bytes) : bytes };
  };
}

/** What every answer must be, whatever was asked. */
function check({ path, body }: Shot, { status, text }: HttpAnswer): void {
  const about = `${path} ${body.toString('latin1').slice(0, 400)} -> ${status} ${text.slice(0, 400)}`;
  const answer = JSON.parse(text);
  if (status !== 200) {
    assert([400, 413, 429, 503].includes(status), about);
    assert(isErrorCode(answer.code) && answer.code !== 'INTERNAL', about);
    return;
  }
  if (path === '/prioritize') {
    for (const { Host, Score } of answer)
      assert(typeof Host === 'string' && Number.isInteger(Score) && Score >= 0 && Score <= 10, about);
  } else if (path === '/filter' && answer.Error === '') {
    const passed: unknown[] = answer.NodeNames ?? answer.Nodes.items;
    assert(Array.isArray(passed), about);
    const refused = [...Object.values(answer.FailedNodes), ...Object.values(answer.FailedAndUnresolvableNodes)];
    for (const reason of refused)
      assert(typeof reason === 'string' && reason.length > 10 && reason.length < 2000, about);
  } else if (path === '/preempt') {
    for (const { Pods } of Object.values<{ Pods: unknown[] }>(answer.NodeNameToMetaVictims))
      assert(Pods.length > 0, about);
  }
}

describe('an extender that is told nonsense', () => {
  it(`gives a right answer or a typed error to each of ${BODIES} seeded bodies, and does not grow`, async () => {
    const cluster = new TestCluster().storageClass('fast').storageClass('other', {}, 'other.example');
    cluster
      .storage(['zone-a', 'zone-a', 'zone-b', 'zone-b', 'zone-c', 'zone-c'])
      .claim('c')
      .bound('u')
      .claim('gone-class', { className: 'gone' });
    cluster.claim('foreign', { className: 'other' });
    for (const at of [0, 1, 2])
      cluster.node(nodeName(at), { zone: 'zone-a', rack: `r${at}`, allocatable: { 'nabustore.io/rdma': '2' } }, 3);
    cluster.pod('user', { node: nodeName(0), claims: ['u'], devices: { 'nabustore.io/rdma': 2 } });
    cluster.model('llama', 1e9, { [nodeName(1)]: 1e9 });
    const served = await Served.start(cluster.index);
    const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
    try {
      const next = shots(new SeededRandom(SEED));
      const codes = new Map<number, number>();
      let left = BODIES;
      let settledRss = 0;
      const work = async (): Promise<void> => {
        while (left > 0) {
          left--;
          if (left === BODIES / 2) settledRss = process.memoryUsage.rss();
          const shot = next();
          const answer = await post(served.port, shot.path, shot.body, { agent });
          check(shot, answer);
          codes.set(answer.status, (codes.get(answer.status) ?? 0) + 1);
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, work));
      assert((codes.get(200) ?? 0) > BODIES / 10 && (codes.get(400) ?? 0) > BODIES / 10, JSON.stringify([...codes]));
      const grownMib = (process.memoryUsage.rss() - settledRss) / MIB;
      assert(grownMib < 64, `grew by ${grownMib} MiB in the second half`);
      const { promised, provisioning, settling } = served.reservations.counts;
      assert(promised + provisioning + settling < 1000);
      const sane = { Pod: podObject('z', { claims: ['c'] }), NodeNames: [nodeName(1), 'stranger'] };
      const { text } = await post(served.port, '/filter', JSON.stringify(sane));
      assert.deepEqual(JSON.parse(text).NodeNames, [nodeName(1)]);
    } finally {
      agent.destroy();
      await served.close();
    }
  });
});
