import type { Command } from 'commander';
import { realClock } from '../../common/ports/index.ts';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { type ClusterStatus, collectStatus } from '../cluster-status.ts';
import { DetachedProcesses } from '../detached.ts';
import { print, table } from '../output.ts';
import { formatBytes } from '../quantity.ts';

const WATCH_INTERVAL_MS = 1_000;
const CLEAR_SCREEN = '\u001b[H\u001b[2J';

export function register(program: Command): void {
  withCommonOptions(program.command('status').description('nodes, volumes and what they wait for'))
    .option('--watch', 'again every second until Ctrl-C')
    .action(
      act<CommonOptions & { watch?: boolean }, []>(async (layout, options) => {
        const json = options.json === true;
        const processes = new DetachedProcesses(layout, realClock);
        do {
          const status = await collectStatus(layout, processes);
          if (options.watch === true && !json) process.stdout.write(CLEAR_SCREEN);
          print(json, status, () => describeStatus(status));
          if (options.watch === true) await realClock.sleep(WATCH_INTERVAL_MS);
        } while (options.watch === true);
      }),
    );
}

/** The text of `nabu status`. */
export function describeStatus(status: ClusterStatus): string {
  const nodes = table(
    ['NODE', 'STATE', 'PID', 'USED', 'CAPACITY', 'STORE'],
    status.nodes.map((node) => [
      node.id,
      node.state,
      node.pid === null ? '-' : String(node.pid),
      formatBytes(node.devices.reduce((sum, device) => sum + device.usedBytes, 0)),
      formatBytes(node.devices.reduce((sum, device) => sum + device.capacityBytes, 0)),
      node.store ?? '-',
    ]),
  );
  const volumes = table(
    ['VOLUME', 'POLICY', 'SIZE', 'HEALTH', 'MOUNT'],
    status.volumes.map((volume) => [
      volume.name,
      volume.policy,
      formatBytes(volume.sizeBytes),
      volume.health,
      volume.mountPath ?? '-',
    ]),
  );
  const waits = status.volumes.flatMap((volume) => [
    ...(volume.reason === '' ? [] : [`${volume.name}: ${volume.reason}`]),
    ...volume.waitingOn.map(
      (wait) =>
        `${volume.name}: ${wait.operation} of blob ${wait.key} waits` +
        `${wait.nodes.length > 0 ? ` for ${wait.nodes.join(', ')}` : ''}: ${wait.reason}`,
    ),
  ]);
  const head = `${status.ready ? 'ready' : 'not ready'}, map epoch ${status.mapEpoch}, CSI at ${status.csiEndpoint}`;
  return [head, '', nodes, '', volumes, ...(waits.length > 0 ? ['', ...waits] : []), ...problemLines(status)].join(
    '\n',
  );
}

function problemLines({ problems }: ClusterStatus): string[] {
  return problems.length === 0 ? [] : ['', ...problems.map((problem) => `! ${problem}`)];
}
