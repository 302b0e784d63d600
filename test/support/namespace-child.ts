import { execFileSync } from 'node:child_process';
import { silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { type KernelEvent, LiveMachine } from '../../device-plugin/machine/index.ts';
import { NetlinkEvents } from '../../device-plugin/machine/netlink/native.ts';
import { eventually } from './kubelet-double.ts';

const BOUND_MS = 10_000;

/** Run in a namespace of its own; answers with one line of JSON. */
async function links(): Promise<readonly KernelEvent[]> {
  const events = new NetlinkEvents();
  const heard: KernelEvent[] = [];
  events.listen((some) => heard.push(...some.filter(({ kind }) => kind === 'link')));
  const has = (action: string): boolean => heard.some((event) => event.kind === 'link' && event.action === action);
  try {
    execFileSync('ip', ['link', 'add', 'nabu-a', 'type', 'veth', 'peer', 'name', 'nabu-b']);
    await eventually('the pair is heard', () => has('new'), BOUND_MS);
    execFileSync('ip', ['link', 'delete', 'nabu-a']);
    await eventually('its end is heard', () => has('removed'), BOUND_MS);
    return heard;
  } finally {
    events.close();
  }
}

async function state(): Promise<unknown> {
  const roots = { sysfsRoot: '/sys', devRoot: '/dev', procRoot: '/proc' };
  const machine = new LiveMachine({ roots, clock: realClock, logger: silentLogger });
  await machine.start();
  const { hasEvents, gaps } = machine.state;
  await machine.close();
  return { hasEvents, gaps };
}

const answer = process.argv[2] === 'links' ? await links() : await state();
process.stdout.write(`${JSON.stringify(answer)}\n`);
