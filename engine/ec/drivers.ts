import { type DriverStatus, nativeCall } from './native.ts';

/**
 * What this machine can code and sum with, fastest first, each with what it lacks: rows for `nabu doctor`. Probes and
 * self-checks at the first call (some milliseconds). Throws DRIVER_UNAVAILABLE when the addon is not built.
 */
export function ecDrivers(): { readonly erasureCoding: DriverStatus[]; readonly crc32c: DriverStatus[] } {
  return nativeCall((ec) => ({ erasureCoding: ec.drivers(), crc32c: ec.crc32cDrivers() }));
}
