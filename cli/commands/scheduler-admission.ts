import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { runSchedulerAdmission, SCHEDULER_ADMISSION_CONFIG } from '../../scheduler-extender/admission/main.ts';
import { reportFailure } from '../output.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program
    .command('scheduler-admission')
    .description(
      'looks at new pods for the API server: marks and gates those for the extender, writes where data lies',
    );
  addFlags(command, SCHEDULER_ADMISSION_CONFIG);
  command.action(async () => {
    try {
      await runSchedulerAdmission(configFromCommand(command, SCHEDULER_ADMISSION_CONFIG), readVersion());
    } catch (err) {
      reportFailure(err, false);
    }
  });
}
