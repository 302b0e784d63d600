import assert from 'node:assert/strict';
import { type ErrorCode, NabuError } from '../../../common/errors/index.ts';

/** That a call is refused with this code of the registry. */
export async function fails(call: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(call, (err: unknown) => {
    assert.ok(NabuError.is(err), String(err));
    assert.equal(err.code, code, err.message);
    return true;
  });
}
