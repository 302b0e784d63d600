import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { EXTENDER_CONFIG, runExtender } from '../../scheduler-extender/index.ts';
import { reportFailure } from '../output.ts';

export function register(program: Command): void {
  const command = program
    .command('scheduler-extender')
    .description('tells kube-scheduler where data and free capacity are');
  addFlags(command, EXTENDER_CONFIG);
  command.action(async () => {
    try {
      await runExtender(configFromCommand(command, EXTENDER_CONFIG));
    } catch (err) {
      reportFailure(err, false);
    }
  });
}
