import { STRIPE_ID_BYTES, type StripeId, stripeId } from '../blob/index.ts';
import type { ByteSource } from './checksums.ts';
import { nativeCall } from './native.ts';

/** The stripe id that encoding this blob under k + m gives: to check one without coding. Throws OUT_OF_RANGE. */
export function stripeHash(
  bytes: ByteSource,
  offset: number,
  blobLength: number,
  policy: { readonly k: number; readonly m: number },
): StripeId {
  const out = new Uint8Array(STRIPE_ID_BYTES);
  nativeCall((ec) => ec.stripeHash(bytes, offset, blobLength, policy.k, policy.m, out));
  return stripeId(out);
}
