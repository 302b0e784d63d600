import { readFile } from 'node:fs/promises';

const PAGE = new URL('../../../docs/csi.md', import.meta.url);
const ROW = /^\| `([^`]+)` \| (\d+) \| ([^|]+) \|$/;

export type DocumentedSkip = { readonly message: string; readonly specs: number; readonly reason: string };

/** The table of docs/csi.md under "What csi-sanity skips": csi-sanity's own words, how many specs, and why. */
export async function documentedSkips(): Promise<DocumentedSkip[]> {
  const page = await readFile(PAGE, 'utf8');
  const [, section = ''] = page.split('\n## What csi-sanity skips\n');
  const [own = ''] = section.split('\n## ');
  return own.split('\n').flatMap((line) => {
    const [, message, specs, reason] = ROW.exec(line) ?? [];
    return message === undefined || reason === undefined
      ? []
      : [{ message, specs: Number(specs), reason: reason.trim() }];
  });
}
