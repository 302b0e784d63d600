import { readFile } from 'node:fs/promises';
import { run } from './run.ts';
import { until } from './until.ts';

const UNMOUNT_MS = 20_000;

export type Mount = { readonly at: string; readonly type: string; readonly options: readonly string[] };

/** What is mounted in this mount namespace, in the order of mounting (proc_pid_mountinfo(5)). */
export async function mounts(): Promise<Mount[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [head = '', tail = ''] = line.split(' - ');
      const [type = '', , options = ''] = tail.split(' ');
      return { at: unescaped(head.split(' ')[4] ?? ''), type, options: options.split(',') };
    });
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Mount points at a folder and below it, the newest first: the order in which they can be taken away. */
export async function mountsBelow(folder: string): Promise<string[]> {
  return (await mounts())
    .map(({ at }) => at)
    .filter((at) => at === folder || at.startsWith(`${folder}/`))
    .reverse();
}

/** Takes away every mount at a folder and below it. What is still busy after the deadline is detached, and goes with its last user. */
export async function unmountBelow(folder: string): Promise<void> {
  await until(`no mount below ${folder}`, UNMOUNT_MS, async () => {
    const points = await mountsBelow(folder);
    if (points.length === 0) return true;
    await run('umount', points);
    return undefined;
  }).catch(async (err: unknown) => {
    const busy = await mountsBelow(folder);
    if (busy.length === 0) return;
    await run('umount', ['--lazy', ...busy]);
    process.stderr.write(`kube: detached what was busy: ${busy.join(' ')}: ${String(err)}\n`);
  });
}
