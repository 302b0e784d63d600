import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the range that the kernel hands out for outgoing connections (32768 and up): nobody gets one by chance meanwhile. */
const FIRST = 20_000;
const LAST = 32_000;
const MAX_TRIES = 1000;

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A port of 127.0.0.1 for each name, no two the same. The programs that get them cannot say which one they took for port 0. */
export async function freePorts<N extends string>(names: readonly N[]): Promise<Record<N, number>> {
  const taken = new Set<number>();
  for (let tries = 0; taken.size < names.length; tries++) {
    if (tries >= MAX_TRIES) throw new Error(`no ${names.length} free ports between ${FIRST} and ${LAST}`);
    const port = randomInt(FIRST, LAST);
    if (!taken.has(port) && (await isFree(port))) taken.add(port);
  }
  const ports = [...taken];
  return Object.fromEntries(names.map((name, index) => [name, ports[index] ?? 0])) as Record<N, number>;
}
