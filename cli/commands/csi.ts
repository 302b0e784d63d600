import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { CSI_CONFIG, runCsi } from '../../csi/index.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program.command('csi').description('the CSI plugin: Identity, Controller and Node on one socket');
  addFlags(command, CSI_CONFIG);
  command.action(async () => await runCsi(configFromCommand(command, CSI_CONFIG), readVersion()));
}
