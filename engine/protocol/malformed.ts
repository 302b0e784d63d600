import { NabuError } from '../../common/errors/index.ts';

/** What the other side sent makes no sense. The transport puts the peer's name in front of the log line. */
export function malformed(reason: string): NabuError {
  return NabuError.of('PROTOCOL_ERROR', { peer: 'the peer', reason });
}
