#!/usr/bin/env node
import { Command } from 'commander';
import * as bench from './commands/bench.ts';
import * as control from './commands/control.ts';
import * as csi from './commands/csi.ts';
import * as version from './commands/version.ts';
import { readVersion } from './version.ts';

/** Each file of commands/ adds its own subcommands; the order here is the order of --help. */
const COMMANDS: readonly { register(program: Command): void }[] = [bench, control, csi, version];

const program = new Command('nabu')
  .description('NabuStore: erasure-coded blob storage for AI clusters')
  .version(readVersion())
  .showHelpAfterError()
  .enablePositionalOptions();
for (const command of COMMANDS) command.register(program);
await program.parseAsync();
