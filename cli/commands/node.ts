import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import type { Layout } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { LocalCluster } from '../cluster.ts';
import { collectStatus } from '../cluster-status.ts';
import { DetachedProcesses } from '../detached.ts';
import { print, table } from '../output.ts';
import { formatBytes } from '../quantity.ts';
import { withControl } from '../volume-lookup.ts';

export function register(program: Command): void {
  const node = program.command('node').description('the storage nodes of this machine');
  withCommonOptions(node.command('ls').description('list storage nodes')).action(
    act<CommonOptions, []>(async (layout, options) => {
      const { nodes } = await collectStatus(layout, new DetachedProcesses(layout, realClock));
      print(options.json === true, nodes, () =>
        table(
          ['NODE', 'STATE', 'PID', 'USED', 'CAPACITY'],
          nodes.map((one) => [
            one.id,
            one.state,
            one.pid === null ? '-' : String(one.pid),
            formatBytes(one.devices[0]?.usedBytes ?? 0),
            formatBytes(one.devices[0]?.capacityBytes ?? 0),
          ]),
        ),
      );
    }),
  );
  withCommonOptions(
    node.command('kill <node>').description('SIGKILL a storage node; it stays away until it is started'),
  ).action(
    act<CommonOptions, [string]>(async (layout, options, name) => {
      await assertKnown(layout, name);
      const killed = await new LocalCluster(layout, realClock).killNode(name);
      print(options.json === true, { node: name, killed }, () => (killed ? `${name} is dead` : `${name} did not run`));
    }),
  );
  withCommonOptions(node.command('start <node>').description('start a storage node that does not run')).action(
    act<CommonOptions, [string]>(async (layout, options, name) => {
      await assertKnown(layout, name);
      await new LocalCluster(layout, realClock).startNode(name);
      print(options.json === true, { node: name, state: 'up' }, () => `${name} is up`);
    }),
  );
}

const CALL_TIMEOUT_MS = 10_000;

async function assertKnown(layout: Layout, name: string): Promise<void> {
  const { nodes } = await withControl(layout, (control) => control.getMap({ timeoutMs: CALL_TIMEOUT_MS }));
  if (!nodes.some(({ id }) => id === name)) throw NabuError.of('NODE_NOT_FOUND', { nodeId: name });
}
