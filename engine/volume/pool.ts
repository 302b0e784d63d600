import { spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { PidFile, type ProcessIdentity, readPidFile } from '../../common/fs/index.ts';
import { GrpcClient } from '../../common/grpc/index.ts';
import type { Layout } from '../../common/layout/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/services.js';
import { ownerOf, type VolumeId } from '../blob/index.ts';
import { KEEPER_PROGRAM } from './native.ts';

const NABU = fileURLToPath(new URL('../../nabu', import.meta.url));
const POLL_MS = 20;
const CALL_MS = 2000;

/** One per four cores, at least one: a server has one busy thread and a few that copy. */
export function defaultPoolSize(): number {
  return Math.max(1, Math.floor(availableParallelism() / 4));
}

/** Which server of the pool serves a volume. */
export function slotOf(volume: VolumeId, poolSize: number): number {
  return Buffer.from(ownerOf(volume)).readUInt32LE(0) % poolSize;
}

/** Name of a slot's keeper in pid files and logs. */
export function keeperName(slot: number): string {
  return `keeper-${slot}`;
}

export type PoolOptions = {
  readonly layout: Layout;
  readonly clock: Clock;
  /** Further arguments of `nabu volume-server`. */
  readonly serverArguments?: readonly string[];
};

/**
 * Starts the keeper of a slot, which starts its volume server, and waits until the server answers. Idempotent; both outlive the caller.
 * COMMAND_FAILED names the log when they do not start.
 */
export async function ensureSlot(options: PoolOptions, slot: number, deadline: Deadline): Promise<ProcessIdentity> {
  const { layout, clock } = options;
  const name = keeperName(slot);
  const identity = (await readPidFile(layout.pidFile(name))) ?? (await startKeeper(options, slot));
  while (!(await answers(layout, slot))) {
    if ((await readPidFile(layout.pidFile(name))) === undefined) {
      throw NabuError.of('COMMAND_FAILED', {
        command: name,
        reason: `it ended while starting, see ${layout.logFile(name)}`,
      });
    }
    await clock.sleep(POLL_MS, deadline.signal);
  }
  return identity;
}

async function startKeeper({ layout, serverArguments = [] }: PoolOptions, slot: number): Promise<ProcessIdentity> {
  const name = keeperName(slot);
  const logPath = layout.logFile(name);
  await mkdir(dirname(logPath), { recursive: true, mode: 0o700 });
  await mkdir(layout.run, { recursive: true, mode: 0o700 });
  const state = join(layout.volumes, `slot-${slot}`);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const log = await open(logPath, 'a', 0o600);
  try {
    const server = [NABU, 'volume-server', '--dir', layout.dir, '--slot', String(slot), ...serverArguments];
    const child = spawn(
      KEEPER_PROGRAM,
      ['--socket', layout.keeperSocket(slot), '--state', state, '--server', ...server],
      {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      },
    );
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) =>
        reject(
          NabuError.of(
            'COMMAND_FAILED',
            { command: KEEPER_PROGRAM, reason: 'it cannot be started; `make build` builds it' },
            { cause },
          ),
        ),
      );
    });
    child.unref();
    return (await PidFile.acquire(layout.pidFile(name), child.pid)).identity;
  } finally {
    await log.close();
  }
}

async function answers(layout: Layout, slot: number): Promise<boolean> {
  const grpc = new GrpcClient({ address: { kind: 'unix', path: layout.volumeHostSocket(slot) } });
  try {
    await grpc.service(services['nabustore.v1.VolumeHost']).listVolumes({}, { timeoutMs: CALL_MS });
    return true;
  } catch (err) {
    if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT')) return false;
    throw err;
  } finally {
    grpc.close();
  }
}
