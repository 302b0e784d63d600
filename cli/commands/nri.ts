import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { NRI_OPTIONS, runNri } from '../../device-plugin/nri/main.ts';
import { reportFailure } from '../output.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program
    .command('nri')
    .description('lets containers with our devices lock memory: a plugin of the container runtime (NRI)');
  addFlags(command, NRI_OPTIONS);
  command.action(async () => {
    try {
      await runNri(configFromCommand(command, NRI_OPTIONS), readVersion());
    } catch (err) {
      reportFailure(err, false);
    }
  });
}
