import type { Command } from 'commander';
import { DEFAULT_DIR, type Layout, layoutOf } from '../common/layout/index.ts';
import { reportFailure } from './output.ts';

export type CommonOptions = { readonly dir: string; readonly json?: boolean };

/** --dir and --json, as every command that talks to a cluster has them. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--dir <folder>', 'where this machine keeps its cluster', process.env.NABU_DIR ?? DEFAULT_DIR)
    .option('--json', 'print JSON for scripts');
}

/** Runs a command's work; a failure becomes one sentence, or one JSON object, and an exit status. */
export function act<O extends CommonOptions, A extends unknown[]>(
  work: (layout: Layout, options: O, ...args: A) => Promise<void>,
): (...args: [...A, O, Command]) => Promise<void> {
  return async (...given) => {
    const options = given.at(-2) as O;
    const args = given.slice(0, -2) as A;
    try {
      await work(layoutOf(options.dir), options, ...args);
    } catch (err) {
      reportFailure(err, options.json === true);
    }
  };
}
