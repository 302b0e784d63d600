import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ERRORS } from '../../../../common/errors/index.ts';
import { errorReference } from '../../../../scripts/reference/errors.ts';

describe('the error registry', () => {
  it('is what docs/reference/errors.md says', () => {
    const page = readFileSync(new URL('../../../../docs/reference/errors.md', import.meta.url), 'utf8');
    assert.equal(page, errorReference(), 'run: node scripts/error-reference.ts');
  });

  it('has names in capitals and HTTP statuses that agree with its gRPC statuses', () => {
    for (const [code, entry] of Object.entries(ERRORS)) {
      assert.match(code, /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
      assert(entry.http >= 400 && entry.http < 600, code);
      const clientFault = ['INVALID_ARGUMENT', 'NOT_FOUND', 'OUT_OF_RANGE', 'PERMISSION_DENIED'].includes(entry.grpc);
      if (clientFault) assert(entry.http < 500, `${code}: ${entry.grpc} is the caller's fault, ${entry.http} is ours`);
    }
  });
});
