import { join, resolve } from 'node:path';

/** Where the processes of one machine keep their state and meet: everything below one folder, `DIR`. */
export type Layout = {
  readonly dir: string;
  /** sqlite of control. */
  readonly control: string;
  readonly run: string;
  readonly logs: string;
  readonly nodes: string;
  readonly volumes: string;
  readonly csi: string;
  /** Where `nabu up` mounts volumes unless told otherwise. */
  readonly mounts: string;
  readonly controlSocket: string;
  readonly csiSocket: string;
  node(nodeId: string): { readonly dir: string; readonly record: string; readonly device: string };
  keeperSocket(slot: number): string;
  volumeHostSocket(slot: number): string;
  pidFile(process: string): string;
  logFile(process: string): string;
};

export const DEFAULT_DIR = '.nabu';

export function layoutOf(folder: string): Layout {
  const dir = resolve(folder);
  const run = join(dir, 'run');
  const logs = join(dir, 'log');
  const nodes = join(dir, 'nodes');
  return {
    dir,
    control: join(dir, 'control'),
    run,
    logs,
    nodes,
    volumes: join(dir, 'volumes'),
    csi: join(dir, 'csi'),
    mounts: join(dir, 'mnt'),
    controlSocket: join(run, 'control.sock'),
    csiSocket: join(run, 'csi.sock'),
    node: (nodeId) => {
      const own = join(nodes, nodeId);
      return { dir: own, record: join(own, 'node.json'), device: join(own, 'device.img') };
    },
    keeperSocket: (slot) => join(run, `keeper-${slot}.sock`),
    volumeHostSocket: (slot) => join(run, `volumes-${slot}.sock`),
    pidFile: (name) => join(run, `${name}.pid`),
    logFile: (name) => join(logs, `${name}.log`),
  };
}
