import { createHash, randomFillSync } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Deadline } from '../../../common/concurrency/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { createLogger } from '../../../common/logging/index.ts';
import { realClock, realRandom } from '../../../common/ports/index.ts';
import { type BlobKey, blobKey, type Policy, parsePolicy, stripeLengthOf } from '../../../engine/blob/index.ts';
import { BlobClient, type StripeBuffer } from '../../../engine/client/index.ts';
import { ControlClient } from '../../../engine/control/index.ts';
import type { MapSource } from '../../../engine/placement/index.ts';
import { Slab } from '../../../engine/slab/index.ts';
import { TcpTransport } from '../../../engine/transport/index.ts';
import type { LoadRequest, LoadResult } from './load.ts';

const [dir = '', policyText = 'ec:4+2', blobText = String(4 << 20), inFlightText = '16'] = process.argv.slice(2);
const policy: Policy = parsePolicy(policyText);
const blobBytes = Number(blobText);
const slots = Number(inFlightText);
const TIMEOUT_MS = 100_000;

const clock = realClock;
const logger = createLogger({ level: 'warn' });
const control = new ControlClient({ kind: 'unix', path: layoutOf(dir).controlSocket });
const map = await control.getMap({ timeoutMs: TIMEOUT_MS });
control.close();
const maps: MapSource = { current: () => map, onChange: () => () => undefined };
// Twice what is in flight: a buddy slab rounds stripes up, and reads need slots of their own.
const slab = Slab.create({ sizeBytes: 2 ** Math.ceil(Math.log2(stripeLengthOf(policy, blobBytes) * slots * 4)) });
const transport = new TcpTransport({ slab, clock, logger });
const client = new BlobClient({ slab, transport, maps, clock, random: realRandom, logger, label: 'bench' });

using setUp = new Deadline({ clock, operation: 'set-up', timeoutMs: TIMEOUT_MS });
let stripes: readonly StripeBuffer[] = [];
let filledBytes = 0;

/** What is put lies in the slab before it is asked for, as it does for whoever registers memory with us. */
async function fill(bytes: number): Promise<void> {
  if (bytes === filledBytes) return;
  for (const stripe of stripes) stripe.release();
  stripes = await Promise.all(Array.from({ length: slots }, () => client.allocStripe(policy, bytes, setUp)));
  for (const stripe of stripes) randomFillSync(stripe.bytes);
  filledBytes = bytes;
}
await fill(blobBytes);

function keyOf(series: string, index: number): BlobKey {
  return blobKey(createHash('sha256').update(`${series}/${index}`).digest());
}

async function one(request: LoadRequest, key: BlobKey, lane: number, index: number, deadline: Deadline): Promise<void> {
  const stripe = stripes[lane];
  if (stripe === undefined) throw new Error(`lane ${lane} has no stripe`);
  if (request.op === 'put') {
    await client.putStripe({ key, policy, stripe, deadline });
    return;
  }
  const { rangeBytes = filledBytes } = request;
  const places = Math.floor(filledBytes / rangeBytes);
  const range = { offset: ((index * 7919 + lane) % places) * rangeBytes, length: rangeBytes };
  const got = await client.get({ key, policy, blobLength: filledBytes, range, deadline });
  const { length } = got;
  got.slot.release();
  if (length !== rangeBytes) throw new Error(`blob ${index} came back with ${length} bytes`);
}

async function run(request: LoadRequest): Promise<LoadResult> {
  using deadline = new Deadline({ clock, operation: 'load', timeoutMs: TIMEOUT_MS });
  await fill(request.blobBytes ?? blobBytes);
  const keys = Array.from({ length: request.keys ?? request.count }, (_, index) => keyOf(request.series, index));
  const us: number[] = [];
  let next = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const lane = async (at: number): Promise<void> => {
    for (let index = next++; index < request.count; index = next++) {
      const which = index % keys.length;
      const key = keys[which];
      if (key === undefined) throw new Error('no keys');
      const from = performance.now();
      await one(request, key, at, which, deadline);
      us.push((performance.now() - from) * 1000);
    }
  };
  await Promise.all(Array.from({ length: Math.min(request.inFlight, slots) }, (_, at) => lane(at)));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  us.sort((a, b) => a - b);
  const at = (share: number): number => us[Math.min(us.length - 1, Math.floor(us.length * share))] ?? 0;
  const { hedges, decodes } = client.counters;
  return {
    hedges,
    decodes,
    seconds,
    gbPerSecond: (request.count * filledBytes) / 1e9 / seconds,
    cpuSeconds: (user + system) / 1e6,
    p50Us: at(0.5),
    p99Us: at(0.99),
  };
}

process.once('SIGTERM', () => process.exit(0)); // with its profile written, when one was asked for
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const result = await run(JSON.parse(line) as LoadRequest);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
client.close();
