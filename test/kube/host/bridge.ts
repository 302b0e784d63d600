import { z } from 'zod';
import { run } from './run.ts';

const linksSchema = z.array(z.looseObject({ ifname: z.string() }));

async function links(...which: readonly string[]): Promise<string[]> {
  const output = await run('ip', ['-json', 'link', 'show', ...which]);
  // Without any link `ip` writes nothing, or `[{}]`.
  const parsed = linksSchema.safeParse(JSON.parse(output === '' ? '[]' : output));
  return parsed.success ? parsed.data.map(({ ifname }) => ifname) : [];
}

/** Names of the network interfaces of this machine. */
export const interfaces = (): Promise<string[]> => links();

/** Removes the pods' bridge with what is plugged into it: the other end of a pair goes with this one. */
export async function removeBridge(bridge: string): Promise<void> {
  if (!(await interfaces()).includes(bridge)) return;
  for (const port of await links('master', bridge)) await run('ip', ['link', 'delete', port]).catch(() => undefined);
  await run('ip', ['link', 'delete', bridge]);
}
