import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { runVolumeServer, VOLUME_SERVER_CONFIG } from '../../engine/volume/index.ts';

export function register(program: Command): void {
  const command = program.command('volume-server').description('one server of the volume pool, started by its keeper');
  addFlags(command, VOLUME_SERVER_CONFIG);
  command.action(async () => await runVolumeServer(configFromCommand(command, VOLUME_SERVER_CONFIG)));
}
