import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { metricsReference } from '../../../scripts/reference/metrics.ts';
import { privilegesReference } from '../../../scripts/reference/privileges.ts';

const page = (name: string): string =>
  readFileSync(new URL(`../../../docs/reference/${name}.md`, import.meta.url), 'utf8');

describe('the references of the device plugin', () => {
  it('say what it needs of a node', () => {
    assert.equal(page('device-plugin-privileges'), privilegesReference(), 'run: node scripts/privileges-reference.ts');
  });

  it('say its figures', () => {
    assert.equal(page('device-plugin-metrics'), metricsReference(), 'run: node scripts/metrics-reference.ts');
  });
});
