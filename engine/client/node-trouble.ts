import { type ErrorCode, NabuError } from '../../common/errors/index.ts';

/** What is wrong with a node, not with the request: another node may do. */
const TROUBLE: readonly ErrorCode[] = [
  'UNAVAILABLE',
  'TIMEOUT',
  'QUEUE_FULL',
  'RESOURCE_EXHAUSTED',
  'NO_SPACE',
  'DEVICE_FULL',
  'DEVICE_FAILED',
  'DEVICE_READ_ONLY',
  'FENCES_INCOMPLETE',
  'MAP_STALE',
  'NODE_NOT_FOUND',
  'PERMISSION_DENIED',
  'PROTOCOL_ERROR',
  'SHARD_CORRUPT',
  'INTERNAL',
];

export function isNodeTrouble(err: unknown): err is NabuError {
  return NabuError.is(err, ...TROUBLE);
}

/** The node is there and says that it has no room: more nodes of the same kind will not help for long. */
export function isFull(err: NabuError): boolean {
  return NabuError.is(err, 'DEVICE_FULL', 'NO_SPACE');
}
