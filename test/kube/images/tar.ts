/** One member of an archive; a folder has no content. */
export type TarEntry = {
  readonly name: string;
  readonly content?: Buffer;
  readonly mode?: number;
  readonly linkTo?: string;
};

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;
const padding = (size: number): Buffer => Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);

/** POSIX.1-1988 ustar: fields at fixed places, the checksum over the header with its own field as blanks. */
function header({ name, content, mode, linkTo }: TarEntry): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES) throw new RangeError(`${name} is longer than ${NAME_BYTES} bytes`);
  const type = linkTo !== undefined ? '2' : content === undefined ? '5' : '0';
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0);
  block.write(octal(mode ?? (type === '0' ? 0o644 : 0o755), 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(content?.length ?? 0, 12), 124);
  block.write(octal(0, 12), 136);
  block.write(' '.repeat(8), 148);
  block.write(type, 156);
  block.write(linkTo ?? '', 157);
  block.write('ustar\0', 257);
  block.write('00', 263);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

export function tar(entries: readonly TarEntry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0);
    return [header(entry), content, padding(content.length)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}
