import { NabuError } from '../../../common/errors/index.ts';
import { MAX_META_BYTES, MAX_PAYLOAD_BYTES } from '../../protocol/index.ts';

/** What the peer would break the connection for, found before it is sent. */
export function oversize(metaBytes: number, payloadBytes: number): NabuError | undefined {
  if (metaBytes > MAX_META_BYTES) {
    return NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes: metaBytes, limitBytes: MAX_META_BYTES });
  }
  if (payloadBytes > MAX_PAYLOAD_BYTES) {
    return NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes: payloadBytes, limitBytes: MAX_PAYLOAD_BYTES });
  }
  return undefined;
}
