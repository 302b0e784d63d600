import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { FsType } from '../request/index.ts';
import { runBound } from './bound-command.ts';

export type CommandContext = { readonly deadline: Deadline; readonly logger: Logger };

/** mount(8) and umount(8): the kernel refused. Everything else is our own mistake and stays COMMAND_FAILED. */
const REFUSED = 32;

async function refusedAs<T>(command: Promise<T>, error: () => NabuError): Promise<T> {
  try {
    return await command;
  } catch (err) {
    if (NabuError.is(err, 'COMMAND_FAILED') && err.fields.exitCode === REFUSED) throw error();
    throw err;
  }
}

export async function mountDevice(
  mount: {
    readonly device: string;
    readonly path: string;
    readonly fsType: FsType;
    readonly options: readonly string[];
  },
  context: CommandContext,
): Promise<void> {
  const options = mount.options.length === 0 ? [] : ['-o', mount.options.join(',')];
  const command = runBound(['mount', '-t', mount.fsType, ...options, mount.device, mount.path], context);
  await refusedAs(command, () =>
    NabuError.of('FAILED_PRECONDITION', {
      operation: `mounting the ${mount.fsType} of the volume`,
      reason: 'the kernel refused it; the log of the plugin has its words',
    }),
  );
}

/** Shows what is at `source` at `target` too. */
export async function bindMount(source: string, target: string, context: CommandContext): Promise<void> {
  await runBound(['mount', '--bind', source, target], context);
}

export async function makeBindReadOnly(target: string, context: CommandContext): Promise<void> {
  await runBound(['mount', '-o', 'remount,bind,ro', target], context);
}

/** Throws VOLUME_IN_USE while a process has something open there. Never lazy: a detached file system would still write. */
export async function unmount(path: string, volumeId: string, context: CommandContext): Promise<void> {
  await refusedAs(runBound(['umount', path], context), () =>
    NabuError.of('VOLUME_IN_USE', { volumeId, reason: `a process has files open at ${path}` }),
  );
}

/** A read-only bind of a device node stops nobody from writing to the device; this does. */
export async function setDeviceReadOnly(device: string, readOnly: boolean, context: CommandContext): Promise<void> {
  await runBound(['blockdev', readOnly ? '--setro' : '--setrw', device], context);
}
