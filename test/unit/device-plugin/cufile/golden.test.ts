import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  CUFILE_VERSIONS,
  type CufileInput,
  type CufileVersion,
  cufileJson,
} from '../../../../device-plugin/cufile/index.ts';
import { cufileSchema } from '../../../../device-plugin/cufile/schema.ts';
import { MACHINES, machine, settingsOf } from './machines.ts';

const GOLDEN = join(import.meta.dirname, '../../../fixtures/cufile');
/** NABU_GOLDEN=write makes the golden files again from what is made now; then look at the difference. */
const isWriting = process.env.NABU_GOLDEN === 'write';
/** One release of each shape: no switches by path, switches, slabs, the newest. */
const SHOWN: readonly CufileVersion[] = ['1.13', '1.16', '1.17', '1.20'];

/** The file with its notes, or the sentence that refuses it. */
function made(name: string, version: CufileVersion): string {
  try {
    const { text, notes } = cufileJson(machine(name, version), settingsOf());
    return text + notes.map((note) => `# ${note}\n`).join('');
  } catch (err) {
    if (NabuError.is(err, 'CUFILE_UNAVAILABLE')) return `# ${err.message}\n`;
    throw err;
  }
}

describe('cufile.json of a machine', () => {
  for (const name of Object.keys(MACHINES)) {
    for (const version of SHOWN) {
      it(`${name} with cuFile ${version} is the golden one (NABU_GOLDEN=write makes it again)`, () => {
        const path = join(GOLDEN, `${name}-${version}.golden`);
        const text = made(name, version);
        if (isWriting) writeFileSync(path, text);
        assert.equal(text, readFileSync(path, 'utf8'));
      });
    }
  }

  it('is valid for every release that we claim, in every mode and with every setting', () => {
    const settings = [
      settingsOf(),
      settingsOf({ fallback: 'allow', pollMode: true, pollMaxSizeKb: 64, logDir: '/var/log', logLevel: 'TRACE' }),
      settingsOf({ deviceCacheKb: 262144, pinnedMemoryKb: 1048576, loadBalancing: 'MaxMinFit' }),
    ];
    let files = 0;
    for (const name of ['h200', 'h200-container', 'roce-only', 'p2pdma-only']) {
      for (const version of CUFILE_VERSIONS) {
        for (const setting of settings) {
          for (const mode of ['nvidia-fs', 'p2pdma', 'compat'] as const) {
            if (mode === 'compat' && setting.fallback === 'refuse') continue;
            const { text } = cufileJson({ ...machine(name, version), mode }, setting);
            assert.deepEqual(cufileSchema(version).safeParse(JSON.parse(text)).error?.issues, undefined);
            files++;
          }
        }
      }
    }
    assert.equal(files, 4 * CUFILE_VERSIONS.length * (3 * 2 + 1));
  });

  it('does not depend on the order in which HCAs, network devices and GPUs come', () => {
    const input = machine('h200', '1.20');
    const turned = {
      ...input,
      gpus: input.gpus.toReversed(),
      hcas: input.hcas.toReversed().map((hca) => ({
        ...hca,
        netDevices: hca.netDevices.map((device) => ({ ...device, addresses: device.addresses.toReversed() })),
      })),
    };
    assert.equal(cufileJson(turned, settingsOf()).text, cufileJson(input, settingsOf()).text);
  });

  it('cannot be made without a GPU, in an unknown release, or in compat mode unless that is allowed', () => {
    const input = machine('h200', '1.20');
    const reason = (err: unknown): boolean => NabuError.is(err, 'CUFILE_UNAVAILABLE');
    const later: CufileInput = JSON.parse(JSON.stringify({ ...input, cufileVersion: '2.0' }));
    assert.throws(() => cufileJson(later, settingsOf()), reason);
    assert.throws(() => cufileJson({ ...input, gpus: [] }, settingsOf()), reason);
    assert.throws(() => cufileJson({ ...input, mode: 'compat' }, settingsOf()), reason);
    assert.equal(
      JSON.parse(cufileJson({ ...input, mode: 'compat' }, settingsOf({ fallback: 'allow' })).text).properties
        .force_compat_mode,
      true,
    );
  });

  it('switches on only those peer-to-peer paths that the settings name, and refuses one that the release lacks', () => {
    const settings = settingsOf({ p2pdmaPaths: ['block.nvme', 'block.raid'] });
    const { block } = JSON.parse(cufileJson(machine('p2pdma-only', '1.18'), settings).text);
    assert.deepEqual(block, {
      nvme: { use_pci_p2pdma: true },
      nvmeof: { use_pci_p2pdma: false },
      raid: { use_pci_p2pdma: true },
    });
    assert.throws(
      () => cufileJson(machine('p2pdma-only', '1.18'), settingsOf({ p2pdmaPaths: ['block.raid10'] })),
      (err: unknown) =>
        NabuError.is(err, 'CUFILE_KEY_VERSION') && err.message.includes('1.18 does not know block.raid10'),
    );
  });
});
