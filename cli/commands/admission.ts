import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { ADMISSION_OPTIONS, runAdmission } from '../../device-plugin/index.ts';
import { reportFailure } from '../output.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program
    .command('admission')
    .description(
      'looks at new pods for the API server: adds the huge pages that their mounts need, refuses contradictions',
    );
  addFlags(command, ADMISSION_OPTIONS);
  command.action(async () => {
    try {
      await runAdmission(configFromCommand(command, ADMISSION_OPTIONS), readVersion());
    } catch (err) {
      reportFailure(err, false);
    }
  });
}
