import { join } from 'node:path';
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import type { Layout } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { LocalCluster, type StepListener } from '../cluster.ts';
import { type ClusterStatus, collectStatus } from '../cluster-status.ts';
import { CsiClient } from '../csi-client.ts';
import { DetachedProcesses } from '../detached.ts';
import { clearLeftovers, takeDown } from '../down.ts';
import { print, table } from '../output.ts';
import { formatBytes, parseQuantity } from '../quantity.ts';
import { findVolume, withControl } from '../volume-lookup.ts';

type UpOptions = CommonOptions & {
  readonly detach?: boolean;
  readonly nodes: string;
  readonly deviceSize: string;
  readonly policy: string;
  readonly volumeSize: string;
  readonly mount?: string;
};

const DEMO = 'demo';
const MAX_NODES = 96;
const CALL_TIMEOUT_MS = 10_000;

export function register(program: Command): void {
  withCommonOptions(program.command('up').description('start a cluster on this machine and mount a volume of it'))
    .option('--detach', 'return when everything is ready; `nabu down` ends it')
    .option('--nodes <count>', 'storage nodes', '6')
    .option('--device-size <quantity>', "of each node's device file, when it is made", '4Gi')
    .option('--policy <policy>', 'the default policy, and that of the volume', 'ec:4+2')
    .option('--volume-size <quantity>', 'of the volume `demo`', '2Gi')
    .option('--mount <path>', 'where to mount it; default DIR/mnt/demo')
    .action(act<UpOptions, []>(up));
}

async function up(layout: Layout, options: UpOptions): Promise<void> {
  const nodes = Number(options.nodes);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw NabuError.of('INVALID_ARGUMENT', { field: 'nodes', reason: `${options.nodes} is not 1 to ${MAX_NODES}` });
  }
  const shape = { nodes, deviceSizeBytes: parseQuantity('device-size', options.deviceSize), policy: options.policy };
  const volumeSizeBytes = parseQuantity('volume-size', options.volumeSize);
  const json = options.json === true;
  await clearLeftovers(layout);
  await withProgress(json, (onStep) => new LocalCluster(layout, realClock).start(shape, onStep));

  using csi = new CsiClient(layout);
  const volumeId = await demoVolume(layout, csi, volumeSizeBytes, options.policy);
  await csi.mount(volumeId, options.mount ?? join(layout.mounts, DEMO), { readOnly: false });

  const status = await collectStatus(layout, new DetachedProcesses(layout, realClock));
  const capacity = await withControl(layout, (control) => control.getCapacity('', { timeoutMs: CALL_TIMEOUT_MS }));
  print(json, status, () => welcome(status, Number(capacity.rawBytes), Number(capacity.maxVolumeBytes)));
  if (options.detach === true) return;
  if (!json) process.stderr.write('Ctrl-C ends it\n');
  await interrupted();
  await takeDown(layout);
}

/** The one that is there, whatever its size and policy: starting again finds all data. */
async function demoVolume(layout: Layout, csi: CsiClient, sizeBytes: number, policy: string): Promise<string> {
  try {
    return (await findVolume(layout, DEMO)).id;
  } catch (err) {
    if (!NabuError.is(err, 'VOLUME_NOT_FOUND')) throw err;
  }
  return (await csi.create({ name: DEMO, sizeBytes, parameters: { policy } })).volumeId;
}

/** A bar where a person looks, nothing where a script does. */
async function withProgress(json: boolean, work: (onStep: StepListener) => Promise<void>): Promise<void> {
  const bar = new SingleBar({ format: '{bar} {value}/{total} {step}', stream: process.stderr, clearOnComplete: true });
  const visible = !json && process.stderr.isTTY;
  if (visible) bar.start(1, 0, { step: 'control' });
  try {
    await work((step, done, total) => {
      if (!visible) {
        if (!json) process.stderr.write(`[${done}/${total}] ${step}\n`);
        return;
      }
      bar.setTotal(total);
      bar.update(done, { step });
    });
  } finally {
    if (visible) bar.stop();
  }
}

const FOREVER_MS = 2 ** 31 - 1;

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    const keepAlive = setInterval(() => undefined, FOREVER_MS); // listening for a signal alone does not
    const end = (): void => {
      clearInterval(keepAlive);
      resolve();
    };
    process.once('SIGINT', end);
    process.once('SIGTERM', end);
  });
}

function welcome(status: ClusterStatus, rawBytes: number, usableBytes: number): string {
  const demo = status.volumes.find((volume) => volume.name === DEMO);
  const rows = [
    ['mounted at', demo?.mountPath ?? '-'],
    ['policy', demo?.policy ?? '-'],
    ['nodes', status.nodes.map((node) => node.id).join(' ')],
    ['capacity', `${formatBytes(rawBytes)} raw, ${formatBytes(usableBytes)} usable under this policy`],
    ['CSI endpoint', status.csiEndpoint],
  ];
  return [
    table(['NabuStore', status.ready ? 'ready' : 'not ready'], rows),
    '',
    'Try next:',
    `  cp FILE ${demo?.mountPath ?? ''} && sync      write something`,
    '  ./nabu node kill node-2                     lose a node, then another: everything stays readable',
    '  ./nabu status --watch                       see it',
    '  ./nabu down                                 end it; data stays',
  ].join('\n');
}
