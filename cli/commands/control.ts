import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { CONTROL_CONFIG } from '../../engine/control/index.ts';
import { runControl } from '../../engine/control/main.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program.command('control').description('control: the cluster map, volumes and attachments');
  addFlags(command, CONTROL_CONFIG);
  command.action(async () => await runControl(configFromCommand(command, CONTROL_CONFIG), readVersion()));
}
