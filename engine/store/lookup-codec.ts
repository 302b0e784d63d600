import type { StripeId } from '../blob/index.ts';
import { STATUS } from './native.ts';
import type { LookupAnswer, LookupState, ShardSummary } from './shard-store.ts';

const ANSWER_BYTES = 16;
const SHARD_BYTES = 40;

/** Room for answers with two shards each; a store says how much more it needs. */
export function lookupRoom(keys: number): number {
  return keys * (ANSWER_BYTES + 2 * SHARD_BYTES);
}

function stateOf(status: number): LookupState {
  if (status === STATUS.ok) return 'found';
  return status === STATUS.absent ? 'absent' : 'unknown';
}

/** What native/store/binding/operations.cc writes for a lookup. The stripe ids are copies. */
export function decodeLookup(bytes: Uint8Array, keys: number): LookupAnswer[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const answers: LookupAnswer[] = [];
  let at = 0;
  for (let i = 0; i < keys; i += 1) {
    const state = stateOf(view.getUint8(at));
    const count = view.getUint32(at + 4, true);
    const deletedStamp = view.getBigUint64(at + 8, true);
    at += ANSWER_BYTES;
    const shards: ShardSummary[] = [];
    for (let s = 0; s < count; s += 1, at += SHARD_BYTES) {
      shards.push({
        stripeId: bytes.slice(at, at + 16) as StripeId,
        stamp: view.getBigUint64(at + 16, true),
        blobLength: view.getUint32(at + 24, true),
        shardLength: view.getUint32(at + 28, true),
        shardIndex: view.getUint8(at + 32),
        k: view.getUint8(at + 33),
        m: view.getUint8(at + 34),
      });
    }
    answers.push({ state, shards, deletedStamp });
  }
  return answers;
}
