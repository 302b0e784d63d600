import { NabuError } from '../../common/errors/index.ts';
import { baseValues } from './base-file.ts';
import { refuseUnusableSlabs, refuseWider } from './given.ts';
import type { CufileInput } from './machine.ts';
import { refuseInvalidFile, refuseInvalidPart, unknownKey } from './refusal.ts';
import { keysOf } from './schema.ts';
import type { CufileSettings } from './settings.ts';
import { addressesOf } from './topology.ts';
import { isObject, mergeTrees, valueAt } from './tree.ts';
import { CUFILE_VERSIONS } from './version.ts';

export type CufileFile = {
  /** The file, with two spaces and a newline at its end. */
  readonly text: string;
  /** Sentences about what the file cannot say, for the log and for whoever asks. */
  readonly notes: readonly string[];
};

function unavailable(reason: string): NabuError {
  return NabuError.of('CUFILE_UNAVAILABLE', { reason });
}

function refuseUseless({ gpus, mode, cufileVersion }: CufileInput, settings: CufileSettings): void {
  if (!CUFILE_VERSIONS.includes(cufileVersion)) {
    throw unavailable(`cuFile ${cufileVersion} is not one of ${CUFILE_VERSIONS.join(', ')}`);
  }
  const why = [
    ...(gpus.length === 0 ? ['the container has no NVIDIA GPU, whose memory cuFile reads into'] : []),
    ...(mode === 'compat' && settings.fallback === 'refuse'
      ? [
          'the node has neither the kernel module nvidia-fs nor peer-to-peer DMA (Linux 6.2 or later with an NVIDIA open ' +
            'kernel module, NVMe), and without "fallback": "allow" nothing goes through host memory',
        ]
      : []),
  ];
  if (why.length > 0) throw unavailable(why.join('; '));
}

/** Up to 1.15 local NVMe is the one thing that goes by peer-to-peer DMA, and has no switch of its own. */
function refuseUnknownPaths({ p2pdmaPaths }: CufileSettings, { cufileVersion }: CufileInput): void {
  const known = keysOf(cufileVersion).map(({ path }) => path);
  const wrong = p2pdmaPaths.find((path) => path !== 'block.nvme' && !known.includes(`${path}.use_pci_p2pdma`));
  if (wrong !== undefined) throw unknownKey(`${wrong}.use_pci_p2pdma`, wrong, cufileVersion);
}

type Tree = { [name: string]: unknown };

function put(tree: Tree, [name = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    tree[name] = value;
    return;
  }
  const below: Tree = {};
  const old = tree[name];
  Object.assign(below, isObject(old) ? old : {});
  tree[name] = below;
  put(below, rest, value);
}

/** The values in the order of the table of keys, so that the same values are always the same text. */
function inOrder(read: (path: string) => unknown, paths: readonly string[]): Tree {
  const tree: Tree = {};
  for (const path of paths) {
    const value = read(path);
    if (value !== undefined) put(tree, path.split('.'), sorted(value));
  }
  return tree;
}

/** Mount tables are the one value that is an object: by mount point. */
function sorted(value: unknown): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * cufile.json for one container: for the HCAs and GPUs that it was given, the mode of its node and the release of cuFile
 * in it, by the operator's settings, with the operator's overrides (a part of a cufile.json) over it. A pure function:
 * equal arguments, in whatever order HCAs come, give equal text. Keys: docs/reference/cufile.md.
 *
 * Throws CUFILE_UNAVAILABLE when there is nothing to configure; CUFILE_KEY_UNKNOWN, CUFILE_KEY_VERSION or
 * CUFILE_VALUE_INVALID for an override that is not a valid part of such a file or does not agree with the rest of it;
 * CUFILE_NOT_GIVEN for one that names what the container does not have.
 */
export function cufileJson(input: CufileInput, settings: CufileSettings, overrides: unknown = {}): CufileFile {
  refuseUseless(input, settings);
  refuseUnknownPaths(settings, input);
  refuseInvalidPart(overrides, input.cufileVersion);
  const paths = [...new Set(keysOf(input.cufileVersion).map(({ path }) => path))];
  const values = baseValues(input, settings, overrides);
  const merged = mergeTrees(
    inOrder((path) => values.get(path), paths),
    isObject(overrides) ? overrides : {},
  );
  const file = inOrder((path) => valueAt(merged, path), paths);
  refuseWider(file, input);
  refuseInvalidFile(file, input.cufileVersion);
  refuseUnusableSlabs(file, input);
  return { text: `${JSON.stringify(file, null, 2)}\n`, notes: notesOf(input) };
}

function notesOf({ hcas }: CufileInput): string[] {
  return addressesOf(hcas).withoutAddress.map(
    (name) => `${name} has no IPv4 address, by which alone cuFile knows an RDMA device: it is not in the file`,
  );
}
