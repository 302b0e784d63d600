import type { Command } from 'commander';
import { addFlags, configFromCommand } from '../../common/config/index.ts';
import { STOR_CONFIG } from '../../engine/node/index.ts';
import { runStor } from '../../engine/node/main.ts';

export function register(program: Command): void {
  const command = program.command('stor').description('one storage node on one device');
  addFlags(command, STOR_CONFIG);
  command.action(async () => {
    const stop = new AbortController();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
    await runStor(configFromCommand(command, STOR_CONFIG), stop.signal);
  });
}
