/**
 * An extender over a made-up cluster of 5,000 nodes, on a port that it prints. `ours`: the product. `empty`: the same server with a
 * handler that looks at nothing and answers nothing. `pass`: the same server with one that lets all names pass and scores none. `json`: no server; JSON.parse and JSON.stringify of the body in a file, the
 * milliseconds of each on a line.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../scheduler-extender/decide/index.ts';
import { Reservations } from '../../../scheduler-extender/reservations/index.ts';
import { ExtenderMetrics, ExtenderServer } from '../../../scheduler-extender/server/index.ts';
import { bigCluster } from '../../support/extender/big-cluster.ts';

const NODES = 5000;
const MIB = 1 << 20;

type Handlers = Pick<Extender, 'filter' | 'prioritize' | 'prepare' | 'preempt' | 'explain'>;

const nothing = Buffer.from('{}');
const empty: Handlers = {
  filter: () => ({ answer: nothing, counts: { candidates: 0, passed: 0 } }),
  prioritize: () => nothing,
  prepare: () => undefined,
  preempt: () => '{}',
  explain: () => {
    throw new Error('nothing to explain');
  },
};

/** The list of names goes back as it came. A list of results that is missing would be a refusal of all. */
const pass: Handlers = {
  ...empty,
  filter: (body) => {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
    const from = bytes.lastIndexOf('"NodeNames":');
    const names = bytes.subarray(from, bytes.indexOf(']', from) + 1);
    return { answer: Buffer.concat([Buffer.from('{'), names, Buffer.from('}')]), counts: { candidates: 0, passed: 0 } };
  },
  prioritize: () => Buffer.from('[]'),
};

async function serve(mode: string): Promise<void> {
  const { cluster } = bigCluster(NODES);
  cluster.claim('c', { size: '10Gi' });
  const { index } = cluster;
  const reservations = new Reservations(realClock);
  const ready = (): undefined => undefined;
  const ours = (): Handlers => new Extender({ index, reservations, rules: DEFAULT_RULES });
  const server = new ExtenderServer({
    extender: mode === 'ours' ? ours() : mode === 'pass' ? pass : empty,
    metrics: new ExtenderMetrics({ index, reservations, unready: ready }),
    refuses: ready,
    unready: ready,
    limits: { bodyBytes: 64 * MIB, totalBytes: 256 * MIB, timeoutMs: 10_000, answerWithinMs: 10_000, connections: 16 },
    tls: undefined,
    clientNames: [],
    clock: realClock,
    logger: silentLogger,
  });
  const { port } = await server.start({ host: '127.0.0.1', port: 0 });
  process.stdout.write(`${port}\n`);
  process.stdin.resume().once('end', () => void server.close());
}

/** One measurement for each line that comes. */
async function parseAndStringify(path: string): Promise<void> {
  const body = readFileSync(path, 'utf8');
  process.stdout.write('ready\n');
  for await (const _ of createInterface({ input: process.stdin })) {
    const startMs = performance.now();
    const { length } = JSON.stringify(JSON.parse(body));
    process.stdout.write(`${length > 0 ? performance.now() - startMs : 0}\n`);
  }
}

const [mode = '', path = ''] = process.argv.slice(2);
if (mode === 'json') await parseAndStringify(path);
else await serve(mode);
