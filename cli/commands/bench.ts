import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import { reportFailure } from '../output.ts';

const PROGRAM = fileURLToPath(new URL('../../test/bench/main.ts', import.meta.url));

type BenchOptions = { readonly only?: string; readonly list?: boolean };

/** `nabu bench`: what `make bench` runs, without building first. Ctrl-C reaches the child, which cleans up after itself. */
export function register(program: Command): void {
  program
    .command('bench')
    .description('measure every part beside its peer, one JSON object a line')
    .option('--only <pattern>', 'rows whose name holds this, or matches it with *')
    .option('--list', 'name the rows and measure nothing')
    .action(async ({ only, list }: BenchOptions) => {
      const args = [...(only === undefined ? [] : ['--only', only]), ...(list === true ? ['--list'] : [])];
      const child = spawn(process.execPath, [...process.execArgv, PROGRAM, ...args], { stdio: 'inherit' });
      const wait = (): void => undefined; // the child ends on the signal, and then so do we
      process.on('SIGINT', wait).on('SIGTERM', () => child.kill('SIGTERM'));
      try {
        const [code] = (await once(child, 'exit')) as [number | null];
        process.exitCode = code ?? 1;
      } catch (cause) {
        reportFailure(
          NabuError.of('COMMAND_FAILED', { command: 'bench', reason: 'it cannot be started' }, { cause }),
          false,
        );
      }
    });
}
