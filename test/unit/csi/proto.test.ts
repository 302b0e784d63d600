import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertSameFacts, descriptorFacts } from '../../support/descriptor-facts.ts';
import { DOWNLOAD_TIMEOUT_MS, goModuleFolder } from '../../support/go-module.ts';
import { skip } from '../../support/skip.ts';

const OFFICIAL = {
  path: 'github.com/container-storage-interface/spec',
  version: 'v1.12.0',
  sum: 'h1:zrFOEqpR5AghNaaDG4qyedwPBqU2fU0dWjLQMP/azK0=',
};
const OURS = fileURLToPath(new URL('../../../proto/csi/v1/csi.proto', import.meta.url));

describe('proto/csi/v1/csi.proto', () => {
  it('says the same as the official CSI 1.12.0 descriptor, in every name, number, type, label and option', async function () {
    this.timeout(DOWNLOAD_TIMEOUT_MS);
    const folder = await goModuleFolder(OFFICIAL);
    if (folder === undefined) skip(this, 'Go, which downloads the official csi.proto');
    const ours = await descriptorFacts(OURS, 'csi.v1');
    assertSameFacts(ours, await descriptorFacts(join(folder, 'csi.proto'), 'csi.v1'));
    assert.ok(ours.size >= 348, `only ${ours.size} facts were compared`);
  });
});
