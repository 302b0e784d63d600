#!/usr/bin/env node
import { Command } from 'commander';
import { readVersion } from './version.ts';

type CommandModule = { register(program: Command): void };

/** Each file of commands/ adds its own subcommand, by its name; the order here is the order of --help. */
const COMMANDS: Readonly<Record<string, () => Promise<CommandModule>>> = {
  up: () => import('./commands/up.ts'),
  down: () => import('./commands/down.ts'),
  status: () => import('./commands/status.ts'),
  volume: () => import('./commands/volume.ts'),
  blob: () => import('./commands/blob.ts'),
  node: () => import('./commands/node.ts'),
  doctor: () => import('./commands/doctor.ts'),
  bench: () => import('./commands/bench.ts'),
  control: () => import('./commands/control.ts'),
  stor: () => import('./commands/stor.ts'),
  csi: () => import('./commands/csi.ts'),
  'device-plugin': () => import('./commands/device-plugin.ts'),
  nri: () => import('./commands/nri.ts'),
  admission: () => import('./commands/admission.ts'),
  'scheduler-extender': () => import('./commands/scheduler-extender.ts'),
  'scheduler-admission': () => import('./commands/scheduler-admission.ts'),
  explain: () => import('./commands/explain.ts'),
  locality: () => import('./commands/locality.ts'),
  'volume-server': () => import('./commands/volume-server.ts'),
  version: () => import('./commands/version.ts'),
};

const program = new Command('nabu')
  .description('NabuStore: erasure-coded blob storage for AI clusters')
  .version(readVersion())
  .showHelpAfterError()
  .enablePositionalOptions();
// A daemon that runs on every node does not hold the code of all the others in memory.
const [, , name = ''] = process.argv;
const named = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
for (const load of named === undefined ? Object.values(COMMANDS) : [named]) (await load()).register(program);
await program.parseAsync();
