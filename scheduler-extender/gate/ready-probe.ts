import { NabuError } from '../../common/errors/index.ts';
import type { Probe } from './extender-health.ts';

const TEXT_LIMIT_CHARS = 200;

/** GET of /readyz at `url`, where `nabu scheduler-extender` tells its health without TLS. Throws CONFIG_INVALID. */
export function readyProbe(url: string): Probe {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw NabuError.of('CONFIG_INVALID', { source: 'extender', reason: `${JSON.stringify(url)} is no http URL` });
  const target = new URL('/readyz', url).toString();
  return async (signal) => {
    const answer = await fetch(target, { signal, redirect: 'error' });
    const text = (await answer.text()).trim().slice(0, TEXT_LIMIT_CHARS);
    if (answer.status !== 200) throw NabuError.of('UNAVAILABLE', { target, reason: text || `status ${answer.status}` });
  };
}
