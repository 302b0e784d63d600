import type { Command } from 'commander';
import { readVersion } from '../version.ts';

export function register(program: Command): void {
  program
    .command('version')
    .description('print the versions of NabuStore and Node')
    .option('--json', 'print one JSON object')
    .action((options: { json?: boolean }) => {
      const versions = { nabustore: readVersion(), node: process.versions.node };
      const text =
        options.json === true ? JSON.stringify(versions) : `nabustore ${versions.nabustore}, node ${versions.node}`;
      process.stdout.write(`${text}\n`);
    });
}
