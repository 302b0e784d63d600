import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { inspectGds } from '../../../../device-plugin/gds/index.ts';

describe('looking at a machine for GPUDirect Storage', () => {
  const roots = { sysfsRoot: '/sys', devRoot: '/dev', procRoot: '/proc' };
  const signal = AbortSignal.timeout(60_000);

  it('works on the machine it runs on', async () => {
    const { requirements, memoryLock } = await inspectGds(roots, { signal });
    assert(requirements.some(({ name }) => name === 'GPU'));
    assert.notEqual(memoryLock, null);
  });

  it('refuses a root that is not there or no folder, by name', async () => {
    for (const field of Object.keys(roots)) {
      for (const wrong of ['/does/not/exist', fileURLToPath(import.meta.url)]) {
        await assert.rejects(inspectGds({ ...roots, [field]: wrong }, { signal }), {
          code: 'INVALID_ARGUMENT',
          fields: { field, reason: `${wrong} is not a folder` },
        });
      }
    }
  });
});
