import { NabuError } from '../../common/errors/index.ts';
import { NVIDIA_FS_SLAB_LIMIT_KB } from './base-file.ts';
import type { CufileInput } from './machine.ts';
import { invalidValue } from './refusal.ts';
import { addressLists, SLAB_CONFIG } from './relations.ts';
import { keysOf } from './schema.ts';
import { addressesOf } from './topology.ts';
import { valueAt } from './tree.ts';

function notGiven(path: string, given: string, available: string): NabuError {
  return NabuError.of('CUFILE_NOT_GIVEN', { path, given, available });
}

function refuseForeignAddresses(file: unknown, input: CufileInput): void {
  const own = addressesOf(input.hcas).addresses;
  for (const { path, addresses } of addressLists(file)) {
    const foreign = addresses.map(String).find((address) => !own.includes(address));
    if (foreign !== undefined) throw notGiven(path, foreign, own.length === 0 ? 'no RDMA address' : own.join(', '));
  }
}

function refuseOtherMode(file: unknown, { mode, cufileVersion }: CufileInput): void {
  if (mode !== 'p2pdma') {
    const path = keysOf(cufileVersion)
      .map((key) => key.path)
      .find((key) => key.endsWith('.use_pci_p2pdma') && valueAt(file, key) === true);
    if (path !== undefined) throw notGiven(path, 'peer-to-peer DMA', `${mode} mode`);
  }
  const forced = 'properties.force_compat_mode';
  if (mode === 'compat' && valueAt(file, forced) === false)
    throw notGiven(forced, 'a direct path', 'compat mode alone');
}

/** A file may not widen what the container has: no address, no mode that it was not given. Throws CUFILE_NOT_GIVEN. */
export function refuseWider(file: unknown, input: CufileInput): void {
  refuseForeignAddresses(file, input);
  refuseOtherMode(file, input);
}

/** nvidia-fs rejects all I/O when every bounce buffer is larger than it can use. */
export function refuseUnusableSlabs(file: unknown, { mode }: CufileInput): void {
  const path = `${SLAB_CONFIG}.slab_size_kb`;
  const sizes = valueAt(file, path);
  if (mode !== 'nvidia-fs' || !Array.isArray(sizes)) return;
  if (sizes.some((size) => Number(size) <= NVIDIA_FS_SLAB_LIMIT_KB)) return;
  throw invalidValue({
    path,
    given: sizes,
    allowed: `at least one size up to ${NVIDIA_FS_SLAB_LIMIT_KB} for nvidia-fs`,
  });
}
