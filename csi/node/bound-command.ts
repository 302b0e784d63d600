import { NabuError } from '../../common/errors/index.ts';
import { type CommandOptions, type CommandResult, runCommand } from '../../common/process/index.ts';

/** setpriv(1) of util-linux: SIGKILL for the program when the plugin dies (prctl(2), PR_SET_PDEATHSIG). */
const DIES_WITH_US = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;
/** setpriv: the program is not there. */
const NOT_FOUND = 127;

/**
 * As runCommand, but the program does not outlive the plugin: a mkfs or mount that went on after a SIGKILL of the plugin would run into
 * what the next plugin does with the same volume.
 */
export async function runBound(
  command: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<CommandResult> {
  const [program] = command;
  try {
    return await runCommand([...DIES_WITH_US, ...command], options);
  } catch (err) {
    if (!NabuError.is(err, 'COMMAND_FAILED')) throw err;
    const { exitCode, reason } = err.fields;
    if (exitCode === NOT_FOUND) {
      throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'program', driver: program, reason: 'it is not installed' });
    }
    const fields = { command: program, reason: String(reason) };
    throw NabuError.of('COMMAND_FAILED', exitCode === undefined ? fields : { ...fields, exitCode });
  }
}
