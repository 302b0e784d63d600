import type { nri } from '../../proto/gen/messages.js';

type Rlimit = nri.pkg.api.v1alpha1.POSIXRlimit;

/** As the OCI runtime specification names it (config.md, 'POSIX process'). */
const MEMLOCK = 'RLIMIT_MEMLOCK';
/** RLIM_INFINITY. */
export const UNLIMITED = 2n ** 64n - 1n;

export type MemlockChange =
  | { readonly kind: 'set'; readonly rlimit: Rlimit }
  /** It has as much or more. */
  | { readonly kind: 'enough' }
  /** Somebody else sets less. */
  | { readonly kind: 'taken'; readonly bytes: bigint };

/**
 * What to do about the limit of a container that has these. Pure. One that is there is left alone, even where it is lower:
 * it is another plugin's, or the base spec's, which NRI does not tell apart, and two plugins that set one limit make NRI refuse
 * the container.
 */
export function memlockChange(rlimits: readonly Rlimit[], bytes: bigint): MemlockChange {
  const present = rlimits.findLast(({ type }) => type === MEMLOCK);
  if (present === undefined) return { kind: 'set', rlimit: { type: MEMLOCK, hard: bytes, soft: bytes } };
  return present.soft >= bytes ? { kind: 'enough' } : { kind: 'taken', bytes: present.soft };
}

/** 'unlimited', or bytes. */
export function limitText(bytes: bigint): string {
  return bytes === UNLIMITED ? 'unlimited' : `${bytes} bytes`;
}
