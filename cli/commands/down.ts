import type { Command } from 'commander';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { takeDown } from '../down.ts';
import { print } from '../output.ts';

export function register(program: Command): void {
  withCommonOptions(
    program.command('down').description('unmount everything and end every process of the cluster; data stays'),
  ).action(
    act<CommonOptions, []>(async (layout, options) => {
      const stopped = await takeDown(layout);
      print(options.json === true, { stopped }, () =>
        stopped.length === 0 ? 'nothing ran' : `ended ${stopped.join(' ')}`,
      );
    }),
  );
}
