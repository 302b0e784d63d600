import { NabuError } from '../errors/index.ts';

/** RFC 3986 host and port, or the escaped socket path that some clients send over a Unix socket. */
const AUTHORITY = /^(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}){1,1024}(?::\d{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?$/;

/**
 * Nothing here is chosen by `:authority`, but it reaches logs and errors, so only what can be one is served. What HTTP/2 itself
 * forbids in it never gets so far: the stream is reset.
 */
export function checkAuthority(authority: string): void {
  const port = Number(/:(\d{1,5})$/.exec(authority)?.[1] ?? 0);
  if (AUTHORITY.test(authority) && port <= 65_535 && !/%0|%1|%7f/i.test(authority)) return;
  throw NabuError.of('INVALID_ARGUMENT', { field: ':authority', reason: 'is neither a host nor a host and port' });
}
