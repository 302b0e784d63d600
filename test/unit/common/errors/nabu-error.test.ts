import assert from 'node:assert/strict';
import {
  ERRORS,
  type ErrorCode,
  fromNative,
  isErrorCode,
  NabuError,
  toNabuError,
} from '../../../../common/errors/index.ts';

describe('NabuError', () => {
  it('fills its template with the fields and keeps further ones', () => {
    const err = NabuError.of('POLICY_UNKNOWN', { policy: 'ec:1', allowed: ['ec:4+2', 'replica:3'], hint: 'x' });
    assert.equal(err.message, 'policy ec:1 is not one of ec:4+2, replica:3');
    assert.equal(err.fields.hint, 'x');
    assert.equal(err.entry, ERRORS.POLICY_UNKNOWN);
  });

  it('cuts a field that would flood the message', () => {
    assert(NabuError.of('VOLUME_NOT_FOUND', { volumeId: 'v'.repeat(100_000) }).message.length < 1000);
  });

  it('takes field values literally, whatever they contain', () => {
    const err = NabuError.of('INVALID_ARGUMENT', { field: '$& {reason}', reason: 'r' });
    assert.equal(err.message, '$& {reason}: r');
  });

  it('is recognised by code', () => {
    const err: unknown = NabuError.of('CANCELLED', { operation: 'x' });
    assert(NabuError.is(err));
    assert(NabuError.is(err, 'TIMEOUT', 'CANCELLED'));
    assert(!NabuError.is(err, 'TIMEOUT'));
    assert(!NabuError.is(new Error('CANCELLED')));
  });

  it('knows whether a retry helps', () => {
    assert.equal(NabuError.of('TIMEOUT', { operation: 'x', timeoutMs: 1 }).retryable, true);
    assert.equal(NabuError.of('VOLUME_NOT_FOUND', { volumeId: 'x' }).retryable, false);
  });

  it('becomes JSON with bigints as decimal text and without its cause', () => {
    const err = NabuError.of('NO_SPACE', { needBytes: 2n ** 60n, freeBytes: 1 }, { cause: new Error('secret') });
    const text = JSON.stringify(err);
    assert.match(text, /"needBytes":"1152921504606846976"/);
    assert.doesNotMatch(text, /secret|stack/);
  });

  it('does not take a name of Object for a code', () => {
    for (const name of ['constructor', '__proto__', 'toString']) assert.equal(isErrorCode(name), false);
    assert(isErrorCode('INTERNAL' satisfies ErrorCode));
  });
});

describe('toNabuError', () => {
  it('passes ours on and turns a foreign error into INTERNAL whose id stands in the log beside it', () => {
    const seen: [string, unknown][] = [];
    const sink = (id: string, err: unknown): void => void seen.push([id, err]);
    const own = NabuError.of('CANCELLED', { operation: 'x' });
    assert.equal(toNabuError(own, sink), own);
    assert.equal(seen.length, 0);
    const foreign = Object.assign(new Error('/etc/passwd'), { code: 16 });
    const known = toNabuError(foreign, sink);
    assert.equal(known.code, 'INTERNAL');
    assert.doesNotMatch(known.message, /passwd/);
    assert.deepEqual(seen, [[known.fields.correlationId, foreign]]);
  });
});

describe('fromNative', () => {
  it('gives the error of the registry that an addon threw, and leaves others alone', () => {
    const thrown = Object.assign(new Error('x'), { code: 'INVALID_ARGUMENT', fields: { field: 'a', reason: 'b' } });
    const known = fromNative(thrown);
    assert(NabuError.is(known, 'INVALID_ARGUMENT'));
    assert.equal(known.message, 'a: b');
    const other = Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.equal(fromNative(other), other);
  });
});
