import { readFile } from 'node:fs/promises';

export type Mount = { readonly target: string; readonly source: string; readonly fsType: string };

/** Octal escapes of proc(5): blank, tab, newline and backslash in paths. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** One line of /proc/PID/mountinfo (proc(5)): six fields, optional ones, '-', then type, source and options. */
export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    const target = before?.split(' ')[4];
    const [fsType, source] = after?.split(' ') ?? [];
    if (target === undefined || fsType === undefined || source === undefined) continue;
    mounts.push({ target: unescapePath(target), source: unescapePath(source), fsType });
  }
  return mounts;
}

/** What is mounted, in the order of mounting. */
export async function readMounts(): Promise<Mount[]> {
  return parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
}
