import { NabuError } from '../../common/errors/index.ts';
import type { CufileMode, CufileSettings } from '../cufile/index.ts';
import type { Inventory } from '../discovery/index.ts';
import { directPaths } from '../gds/index.ts';
import type { Cause } from './unit.ts';

export const CUFILE_MODES: readonly CufileMode[] = ['nvidia-fs', 'p2pdma', 'compat'];

/** How cuFile can work here, and if it cannot, why. */
export type CufileFooting =
  | { readonly mode: CufileMode; readonly causes: readonly [] }
  | { readonly mode: undefined; readonly causes: readonly Cause[] };

/**
 * The best way that this machine has now: the kernel module, which serves more file systems; else the kernel's own
 * peer-to-peer DMA; else host memory, where the settings allow it. Pure.
 */
export function cufileFooting(machine: Inventory, { fallback }: Pick<CufileSettings, 'fallback'>): CufileFooting {
  const lacks = directPaths(machine);
  if (lacks.gpu !== '') return { mode: undefined, causes: [{ code: 'driver', detail: `GPU: ${lacks.gpu}` }] };
  if (lacks['nvidia-fs'] === '') return { mode: 'nvidia-fs', causes: [] };
  if (lacks.p2pdma === '') return { mode: 'p2pdma', causes: [] };
  if (fallback === 'allow') return { mode: 'compat', causes: [] };
  return {
    mode: undefined,
    causes: [
      { code: 'nvidia-fs', detail: `nvidia-fs: ${lacks['nvidia-fs']}` },
      { code: 'p2pdma', detail: `peer-to-peer DMA: ${lacks.p2pdma}` },
    ],
  };
}

/**
 * The mode for a container that was given what `granted` needs, some time ago: the kubelet keeps an answer of Allocate for
 * as long as the pod lives, across restarts of its containers and of the node. Undefined: nothing tells what it was given.
 * Only nvidia-fs takes device files, which a container has or has not. Throws CUFILE_UNAVAILABLE. Pure.
 */
export function modeAsGranted(
  granted: CufileMode | undefined,
  machine: Inventory,
  settings: Pick<CufileSettings, 'fallback'>,
): CufileMode {
  const now = cufileFooting(machine, settings);
  const unavailable = (reason: string): NabuError => NabuError.of('CUFILE_UNAVAILABLE', { reason });
  if (now.mode === undefined) throw unavailable(now.causes.map(({ detail }) => detail).join('; '));
  if (granted === undefined || granted === now.mode) return now.mode;
  if (granted === 'nvidia-fs') {
    throw unavailable(
      'the container was given the devices of nvidia-fs, and that is gone from this node: delete the pod, a new one gets what the node has now',
    );
  }
  if (now.mode !== 'nvidia-fs') return now.mode;
  if (directPaths(machine).p2pdma === '') return 'p2pdma';
  if (settings.fallback === 'allow') return 'compat';
  throw unavailable(
    'the container was admitted while this node had peer-to-peer DMA and has no devices of nvidia-fs, by which alone cuFile works here now: delete the pod, a new one gets them',
  );
}
