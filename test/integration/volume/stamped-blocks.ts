export const STAMPED_BLOCK = 4096;
const WORDS = STAMPED_BLOCK / 4;
const MAGIC = 0x504d5453;

/** Which write a block comes from: `area` and `block` say where it belongs, `version` which write of that area it was. */
export type Stamp = { readonly area: number; readonly block: number; readonly version: number };

function mix(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Fills one block; all of it follows from the stamp, so that half of one write and half of another is seen. */
export function stampBlock(words: Uint32Array, { area, block, version }: Stamp): void {
  words[0] = MAGIC;
  words[1] = area;
  words[2] = block;
  words[3] = version;
  let state = mix(Math.imul(area, 0x9e3779b1) ^ Math.imul(block, 0x85ebca6b) ^ version);
  for (let i = 4; i < WORDS; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
}

const scratch = new Uint32Array(WORDS);

/** The stamp of a whole block; 'zeros' for one that was never written; 'torn' for anything else. */
export function readStamp(words: Uint32Array): Stamp | 'zeros' | 'torn' {
  if (words[0] === 0) return words.every((word) => word === 0) ? 'zeros' : 'torn';
  const stamp = { area: words[1] ?? 0, block: words[2] ?? 0, version: words[3] ?? 0 };
  stampBlock(scratch, stamp);
  for (let i = 0; i < WORDS; i++) if (words[i] !== scratch[i]) return 'torn';
  return stamp;
}

/** What a block may hold: the versions from `least` to `most`, 0 = never written. */
export type Expected = { readonly least: number; readonly most: number };

/** What is wrong with a block, or undefined. */
export function blockFault(
  words: Uint32Array,
  area: number,
  block: number,
  { least, most }: Expected,
): string | undefined {
  const found = readStamp(words);
  const where = `area ${area} block ${block}`;
  const wanted = least === most ? `version ${least}` : `a version from ${least} to ${most}`;
  if (found === 'torn') return `${where}: a torn block (its first words ${[...words.subarray(0, 4)]}), not ${wanted}`;
  const version = found === 'zeros' ? 0 : found.version;
  if (found !== 'zeros' && (found.area !== area || found.block !== block)) {
    return `${where}: the content of area ${found.area} block ${found.block} version ${version}, not ${wanted}`;
  }
  return version < least || version > most ? `${where}: version ${version}, not ${wanted}` : undefined;
}
