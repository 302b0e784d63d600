import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { SeededRandom } from '../../../../common/ports/index.ts';
import { AdmissionProcess } from '../../../support/admission-process.ts';

const RUNS = 3000;
const SEED = 20_261;
const AT_ONCE = 8;

/** As the API server of Kubernetes 1.36 sent them. */
const FOLDER = new URL('../../../fixtures/admission/', import.meta.url);
const RECORDED: readonly unknown[] = readdirSync(FOLDER).map((name) =>
  JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')),
);

const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  'nabustore.io/hugetlbfs-2Mi',
  '9'.repeat(1000),
  '\u0000\ud800',
  [],
  {},
  [[[[]]]],
  { 'nabustore.io/hugetlbfs-2Mi': '1', 'nabustore.io/hugetlbfs-': '1' },
  { limits: { 'nabustore.io/hugetlbfs-2Mi': '1e99' } },
  Array.from({ length: 500 }, (_, at) => ({ name: `c${at}` })),
];

type Place = { readonly parent: object; readonly key: string | number };

function placesIn(value: unknown, found: Place[] = []): Place[] {
  if (typeof value !== 'object' || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push({ parent: value, key });
    placesIn(Reflect.get(value, key), found);
  }
  return found;
}

/** A recorded request with one to three things in it changed: a value, a key, a part of the text. */
function mutated(random: SeededRandom): Buffer {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random.float() * from.length)] as T;
  const copy: unknown = structuredClone(pick(RECORDED));
  for (let left = 1 + Math.floor(random.float() * 3); left > 0; left--) {
    const { parent, key } = pick(placesIn(copy));
    if (random.float() < 0.3) Reflect.deleteProperty(parent, key);
    else Reflect.set(parent, random.float() < 0.1 ? 'nabustore.io/hugetlbfs-1Gi' : key, structuredClone(pick(ODD)));
  }
  const bytes = Buffer.from(JSON.stringify(copy) ?? '');
  if (random.float() < 0.6 || bytes.length === 0) return bytes;
  const at = Math.floor(random.float() * bytes.length);
  if (random.float() < 0.3) return bytes.subarray(0, at);
  bytes[at] = Math.floor(random.float() * 256);
  return bytes;
}

describe('nabu admission with requests that are broken in every way', () => {
  it(`answers each of ${RUNS} with a review or a typed refusal, and lives on`, async () => {
    const server = await AdmissionProcess.start();
    try {
      const random = new SeededRandom(SEED);
      const seen = new Map<string, number>();
      for (let at = 0; at < RUNS; at += AT_ONCE) {
        const bodies = Array.from({ length: AT_ONCE }, () => mutated(random));
        const answers = await Promise.all(bodies.map((body) => server.review(body)));
        for (const [index, { status, body }] of answers.entries()) {
          const sent = bodies[index]?.toString('latin1').slice(0, 2000);
          const answer = JSON.parse(body);
          if (status === 200) {
            assert.equal(answer.kind, 'AdmissionReview', sent);
            assert.equal(typeof answer.response.allowed, 'boolean', sent);
            if (!answer.response.allowed) assert.match(answer.response.status.message, /\w+ \w+/, sent);
          } else {
            assert.equal(status, 400, `${body}\n${sent}`);
            assert.equal(answer.error.code, 'INVALID_ARGUMENT', sent);
          }
          const kind = status === 200 ? (answer.response.allowed ? 'allowed' : 'refused') : String(status);
          seen.set(kind, (seen.get(kind) ?? 0) + 1);
        }
      }
      for (const kind of ['allowed', 'refused', '400']) assert((seen.get(kind) ?? 0) > 20, `${kind}: ${[...seen]}`);
      assert(server.isAlive);
      assert(!server.log.some((line) => line.includes('"level":"error"')), server.log.join('\n'));
    } finally {
      await server.stop();
    }
  });
});
