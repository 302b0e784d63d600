import { isIP } from 'node:net';
import { NabuError } from '../errors/index.ts';
import { UNIX_PATH_LIMIT_BYTES } from './unix-socket.ts';

export type SocketAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

function refuse(text: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field: 'address', reason: `${JSON.stringify(text)} ${reason}` });
}

function parseUnix(text: string, path: string): SocketAddress {
  if (path === '' || path.includes('\0')) throw refuse(text, 'names no socket path');
  if (Buffer.byteLength(path) > UNIX_PATH_LIMIT_BYTES) {
    throw refuse(
      text,
      `is longer than the ${UNIX_PATH_LIMIT_BYTES} bytes that a socket path may have: use a shorter folder`,
    );
  }
  return { kind: 'unix', path };
}

/** `unix:///run/x.sock`, `unix:x.sock`, `/run/x.sock`, `127.0.0.1:0`, `[::1]:7000`, `localhost:7000`. */
export function parseAddress(text: string): SocketAddress {
  if (text.startsWith('unix:')) return parseUnix(text, text.replace(/^unix:(\/\/)?/, ''));
  if (text.startsWith('/')) return parseUnix(text, text);
  const match = /^(?:tcp:(?:\/\/)?)?(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) throw refuse(text, 'is neither unix:PATH nor HOST:PORT');
  return { kind: 'tcp', host, port };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** For people and for logs; parses back. */
export function formatAddress(address: SocketAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** What grpc-js dials. */
export function grpcTarget(address: SocketAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const version = isIP(address.host);
  if (version === 4) return `ipv4:${address.host}:${address.port}`;
  if (version === 6) return `ipv6:[${address.host}]:${address.port}`;
  return `dns:${address.host}:${address.port}`;
}
