import assert from 'node:assert/strict';
import { parseContent } from '../../../cli/locality-report.ts';

describe('what is cached, on the command line', () => {
  it('is an id with other names, what is there and how large the whole is', () => {
    assert.deepEqual(parseContent('Model', 'sha256-abc,org/llama=70G/140G', true), {
      kind: 'Model',
      id: 'sha256-abc',
      names: ['org/llama'],
      cachedBytes: 70e9,
      sizeBytes: 140e9,
      stored: true,
    });
    assert.deepEqual(parseContent('KVCache', 'pool=1Gi', false), {
      kind: 'KVCache',
      id: 'pool',
      cachedBytes: 2 ** 30,
      sizeBytes: 2 ** 30,
    });
    assert.equal(parseContent('Model', 'm=0/5G', false).cachedBytes, 0);
  });

  it('is refused where it is something else', () => {
    for (const text of ['', 'm', 'm=', '=5G', 'm=lots', 'm=1G/', 'm=1G/2G/3G', 'a b=1G', 'm=0'])
      assert.throws(() => parseContent('Model', text, false), { code: 'INVALID_ARGUMENT' }, text);
  });
});
