import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cufileSchema } from '../../../../device-plugin/cufile/schema.ts';
import type { ContainerHolding } from '../../../../device-plugin/pod-resources/index.ts';
import { MACHINES, type MachineName } from '../../../fixtures/machines/index.ts';
import { CufileRig, holding } from '../../../support/cufile-rig.ts';

const GOLDEN = join(import.meta.dirname, '../../../fixtures/cufile/containers');
/** NABU_GOLDEN=write makes the golden files again from what is made now; then look at the difference. */
const isWriting = process.env.NABU_GOLDEN === 'write';

const VERSION = '1.16';
const CUFILE = { kind: 'cufile', version: VERSION };
const GDS = { kind: 'gds', version: VERSION };
const gpu = (number: number): string => `GPU-5a1f0c3e-7d2b-4e6a-9c41-00000000000${number}`;

type Case = {
  readonly name: string;
  readonly machine: MachineName;
  readonly config: Readonly<Record<string, unknown>>;
  readonly units: readonly string[];
  readonly holding?: ContainerHolding;
};

const CASES: readonly Case[] = [
  {
    name: 'h200-one-gpu-one-hca',
    machine: 'h200-8gpu',
    config: CUFILE,
    units: ['numa0-3'],
    holding: holding({
      'nabustore.io/cufile': ['numa0-3'],
      'nabustore.io/rdma': ['0000:1a:00.0-0'],
      'nvidia.com/gpu': [gpu(0)],
    }),
  },
  {
    name: 'h200-all',
    machine: 'h200-8gpu',
    config: CUFILE,
    units: ['numa1-0'],
    holding: holding({
      'nabustore.io/cufile': ['numa1-0'],
      'nabustore.io/rdma': ['0000:bc:00.0-0', '0000:9c:00.0-0', '0000:3c:00.0-0', '0000:1a:00.0-0'],
      'nvidia.com/gpu': [0, 1, 2, 3, 4, 5, 6, 7].map(gpu),
    }),
  },
  { name: 'h200-init-container', machine: 'h200-8gpu', config: CUFILE, units: ['numa1-0'] },
  {
    name: 'h200-gds',
    machine: 'h200-8gpu',
    config: GDS,
    units: ['0000:9c:00.0-0'],
    holding: holding({ 'nabustore.io/gds': ['0000:9c:00.0-0'], 'nvidia.com/gpu': [gpu(4), gpu(5)] }),
  },
  {
    name: 'p2pdma-one-gpu',
    machine: 'p2pdma-only',
    config: CUFILE,
    units: ['numa0-0'],
    holding: holding({
      'nabustore.io/cufile': ['numa0-0'],
      'nvidia.com/gpu': ['GPU-c90a4f18-20d7-4b1e-8f55-000000000001'],
    }),
  },
  { name: 'p2pdma-init-container', machine: 'p2pdma-only', config: CUFILE, units: ['numa0-0'] },
];

async function made({ machine, config, units: ids, holding: held }: Case): Promise<{ json: string; notes: string }> {
  using rig = new CufileRig(MACHINES[machine]);
  if (held !== undefined) rig.shows(held);
  const kind = rig.kind(config);
  const units = await Promise.all(ids.map((id) => rig.unit(kind, id)));
  await rig.prepare(kind, units);
  const [first = ''] = ids;
  return { json: rig.read(kind, first, 'cufile.json'), notes: rig.read(kind, first, 'NOTES') };
}

describe('cufile.json of a container on a recorded machine', () => {
  for (const one of CASES) {
    it(`${one.name}: the file is valid, and with its notes the golden one (NABU_GOLDEN=write makes it again)`, async () => {
      const { json, notes } = await made(one);
      assert.deepEqual(cufileSchema(VERSION).safeParse(JSON.parse(json)).error?.issues, undefined);
      const text = json + notes.replace(/^/gm, '# ').replace(/# $/, '');
      const path = join(GOLDEN, `${one.name}.golden`);
      if (isWriting) writeFileSync(path, text);
      assert.equal(text, readFileSync(path, 'utf8'));
    });
  }

  for (const name of ['roce-only', 'storage-32nvme', 'vm-empty'] as const) {
    it(`${name}: there is no GPU, and so no unit of cuFile at all`, async () => {
      using rig = new CufileRig(MACHINES[name]);
      assert.deepEqual(rig.kind(CUFILE).units(await rig.inventory()), []);
    });
  }
});
