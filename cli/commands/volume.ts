import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import type { Layout } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { collectStatus } from '../cluster-status.ts';
import { CsiClient } from '../csi-client.ts';
import { DetachedProcesses } from '../detached.ts';
import { hostedVolumes } from '../hosted-volumes.ts';
import { readMounts } from '../mounts.ts';
import { print, table } from '../output.ts';
import { formatBytes, parseQuantity } from '../quantity.ts';
import { findVolume } from '../volume-lookup.ts';

type CreateOptions = CommonOptions & {
  readonly size: string;
  readonly policy?: string;
  readonly fsType?: string;
  readonly parameter?: readonly string[];
};
type MountOptions = CommonOptions & { readonly readOnly?: boolean };

export function register(program: Command): void {
  const volume = program.command('volume').description('make, mount, grow and remove volumes, over CSI');
  registerCreate(volume);
  registerList(volume);
  registerMount(volume);
  registerUnmount(volume);
  registerExpand(volume);
  registerRemove(volume);
}

/** Where a volume is mounted on this machine, its staging folder left out. */
export async function mountTargets(layout: Layout, volumeId: string): Promise<string[]> {
  const problems: string[] = [];
  const device = (await hostedVolumes(layout, problems)).get(volumeId)?.devicePath ?? '';
  if (device === '') return [];
  const mounts = await readMounts();
  return mounts
    .filter((mount) => mount.source === device && !mount.target.startsWith(layout.csi))
    .map((mount) => mount.target);
}

function registerCreate(parent: Command): void {
  withCommonOptions(parent.command('create <name>').description('make a volume'))
    .option('--size <quantity>', 'for example 10Gi', '1Gi')
    .option('--policy <policy>', "for example ec:4+2 or replica:3; the default is the cluster's")
    .option('--fs-type <type>', 'ext4 or xfs')
    .option('--parameter <key=value...>', 'further StorageClass parameters')
    .action(
      act<CreateOptions, [string]>(async (layout, options, name) => {
        using csi = new CsiClient(layout);
        const created = await csi.create({
          name,
          sizeBytes: parseQuantity('size', options.size),
          parameters: {
            ...(options.policy === undefined ? {} : { policy: options.policy }),
            ...(options.fsType === undefined ? {} : { fsType: options.fsType }),
            ...Object.fromEntries((options.parameter ?? []).map(splitParameter)),
          },
        });
        const sizeBytes = Number(created.capacityBytes);
        print(
          options.json === true,
          { id: created.volumeId, name, sizeBytes },
          () => `${name} (${created.volumeId}), ${formatBytes(sizeBytes)}`,
        );
      }),
    );
}

function splitParameter(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw NabuError.of('INVALID_ARGUMENT', { field: 'parameter', reason: `${JSON.stringify(text)} is not KEY=VALUE` });
}

function registerList(parent: Command): void {
  withCommonOptions(parent.command('ls').description('list volumes')).action(
    act<CommonOptions, []>(async (layout, options) => {
      const { volumes } = await collectStatus(layout, new DetachedProcesses(layout, realClock));
      print(options.json === true, volumes, () =>
        table(
          ['NAME', 'ID', 'POLICY', 'SIZE', 'HEALTH', 'MOUNT'],
          volumes.map((one) => [
            one.name,
            one.id,
            one.policy,
            formatBytes(one.sizeBytes),
            one.health,
            one.mountPath ?? '-',
          ]),
        ),
      );
    }),
  );
}

function registerMount(parent: Command): void {
  withCommonOptions(parent.command('mount <name> [path]').description('mount a volume; default DIR/mnt/NAME'))
    .option('--read-only', 'as a pod with readOnly sees it')
    .action(
      act<MountOptions, [string, string | undefined]>(async (layout, options, name, path) => {
        const { id } = await findVolume(layout, name);
        const target = path === undefined ? join(layout.mounts, name) : resolve(path);
        using csi = new CsiClient(layout);
        await csi.mount(id, target, { readOnly: options.readOnly === true });
        print(options.json === true, { id, name, mountPath: target }, () => `${name} is mounted at ${target}`);
      }),
    );
}

function registerUnmount(parent: Command): void {
  withCommonOptions(parent.command('umount <name>').description('unmount a volume everywhere on this machine')).action(
    act<CommonOptions, [string]>(async (layout, options, name) => {
      const { id } = await findVolume(layout, name);
      const targets = await mountTargets(layout, id);
      using csi = new CsiClient(layout);
      await csi.unmount(id, targets);
      print(options.json === true, { id, name, unmounted: targets }, () => `${name} is not mounted any more`);
    }),
  );
}

function registerExpand(parent: Command): void {
  withCommonOptions(parent.command('expand <name>').description('grow a volume and its file system, online'))
    .requiredOption('--size <quantity>', 'the new size, for example 20Gi')
    .action(
      act<CommonOptions & { readonly size: string }, [string]>(async (layout, options, name) => {
        const { id } = await findVolume(layout, name);
        const [target] = await mountTargets(layout, id);
        using csi = new CsiClient(layout);
        const sizeBytes = await csi.expand(id, parseQuantity('size', options.size), target);
        print(options.json === true, { id, name, sizeBytes }, () => `${name} has ${formatBytes(sizeBytes)} now`);
      }),
    );
}

function registerRemove(parent: Command): void {
  withCommonOptions(parent.command('rm <name>').description('delete a volume and its data')).action(
    act<CommonOptions, [string]>(async (layout, options, name) => {
      const { id } = await findVolume(layout, name);
      using csi = new CsiClient(layout);
      await csi.delete(id);
      print(options.json === true, { id, name }, () => `${name} is deleted`);
    }),
  );
}
