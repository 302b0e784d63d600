#!/usr/bin/env node
import { Command } from 'commander';
import * as bench from './commands/bench.ts';
import * as blob from './commands/blob.ts';
import * as control from './commands/control.ts';
import * as csi from './commands/csi.ts';
import * as doctor from './commands/doctor.ts';
import * as down from './commands/down.ts';
import * as node from './commands/node.ts';
import * as status from './commands/status.ts';
import * as stor from './commands/stor.ts';
import * as up from './commands/up.ts';
import * as version from './commands/version.ts';
import * as volume from './commands/volume.ts';
import * as volumeServer from './commands/volume-server.ts';
import { readVersion } from './version.ts';

/** Each file of commands/ adds its own subcommands; the order here is the order of --help. */
const COMMANDS: readonly { register(program: Command): void }[] = [
  up,
  down,
  status,
  volume,
  blob,
  node,
  doctor,
  bench,
  control,
  stor,
  csi,
  volumeServer,
  version,
];

const program = new Command('nabu')
  .description('NabuStore: erasure-coded blob storage for AI clusters')
  .version(readVersion())
  .showHelpAfterError()
  .enablePositionalOptions();
for (const command of COMMANDS) command.register(program);
await program.parseAsync();
