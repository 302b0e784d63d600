import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { devicePluginConfigReference } from '../../../../scripts/reference/device-plugin-config.ts';

const PAGE = join(import.meta.dirname, '../../../../docs/reference/device-plugin-config.md');

describe('the reference of the configuration', () => {
  it('is what the schema says (node scripts/device-plugin-config-reference.ts writes it again)', () => {
    assert.equal(readFileSync(PAGE, 'utf8'), devicePluginConfigReference());
  });
});
