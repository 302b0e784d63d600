import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { DEVICE_PLUGIN_OPTIONS, runDevicePlugin } from '../../device-plugin/main.ts';
import { reportFailure } from '../output.ts';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  const command = program
    .command('device-plugin')
    .description('offers HCAs, cuFile, huge pages and NVMe drives of this node to its kubelet');
  addFlags(command, DEVICE_PLUGIN_OPTIONS);
  command.action(async () => {
    try {
      await runDevicePlugin(configFromCommand(command, DEVICE_PLUGIN_OPTIONS), readVersion());
    } catch (err) {
      reportFailure(err, false);
    }
  });
}
