import { printable, refuse } from './fields.ts';
import type { FsType } from './fs-type.ts';

// mkfs runs as root: an option that names a file, a device or a folder (ext4 -d and -z, xfs -p, -c and logdev=) could read or
// write anything on the node. So only these flags pass, and no value may hold a slash or name another device.
const FLAGS: Readonly<Record<FsType, ReadonlySet<string>>> = {
  ext4: new Set(['-b', '-C', '-E', '-g', '-G', '-i', '-I', '-J', '-L', '-m', '-N', '-O', '-T']),
  xfs: new Set(['-b', '-d', '-i', '-l', '-L', '-m', '-n', '-s']),
};
const VALUE = /^[A-Za-z0-9_.,=^:+-]{1,128}$/;
const FOREIGN = /(?:^|,)(?:file|name|logdev|rtdev|device|offset|hash_alg|root_owner|size)\b/;
const MAX_WORDS = 32;

/** Words for mkfs, each flag with its value. Throws INVALID_ARGUMENT naming the first that is not allowed. */
export function parseMkfsOptions(field: string, fsType: FsType, text: string): readonly string[] {
  const words = text.split(/\s+/).filter((word) => word !== '');
  if (words.length > MAX_WORDS) throw refuse(field, `has ${words.length} words, at most ${MAX_WORDS} are taken`);
  if (words.length % 2 !== 0) throw refuse(field, 'must be pairs of a flag and its value, separated by spaces');
  for (let at = 0; at < words.length; at += 2) checkPair(field, fsType, words[at] ?? '', words[at + 1] ?? '');
  return words;
}

function checkPair(field: string, fsType: FsType, flag: string, value: string): void {
  const shown = JSON.stringify(printable(`${flag} ${value}`));
  if (!FLAGS[fsType].has(flag)) throw refuse(field, `${shown}: flag is not allowed for mkfs.${fsType}`);
  // The journal and log may be sized, the file system itself has the size of its volume.
  const sizeIsFine = flag === '-J' || flag === '-l' || flag === '-b' || flag === '-i' || flag === '-n' || flag === '-s';
  const foreign = FOREIGN.exec(sizeIsFine ? value.replaceAll(/(?:^|,)size=\d+[kmg]?/g, '') : value);
  if (value.startsWith('-') || !VALUE.test(value) || foreign !== null)
    throw refuse(field, `${shown}: value is not allowed`);
}
