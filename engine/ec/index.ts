export { type ByteSource, crc32c, crc32cBlocks, verifyBlocks } from './checksums.ts';
export { configureEcWorkers, type EcWorkers, ErasureCoders } from './coders.ts';
export { ecDrivers } from './drivers.ts';
export type { EncodedStripe, ErasureCoder, Reconstruction, StripeRange } from './erasure-coder.ts';
export type { DriverStatus, EcDriver } from './native.ts';
export { NativeErasureCoder } from './native-coder.ts';
export { stripeHash } from './stripe-hash.ts';
