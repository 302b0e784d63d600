import { NabuError } from '../errors/index.ts';

/** 'ENOSPC'; undefined for what the system did not say. */
export function systemCode(err: unknown): string | undefined {
  const code: unknown = Reflect.get(Object(err), 'code');
  return typeof code === 'string' ? code : undefined;
}

/** Does `work` below a path; what the system has against it becomes PATH_UNUSABLE, 'ENOSPC: no space left on device'. */
export async function usingPath<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    if (NabuError.is(err) || systemCode(err) === undefined) throw err;
    const [reason = ''] = String(Reflect.get(Object(err), 'message')).split(',');
    throw NabuError.of('PATH_UNUSABLE', { path, reason }, { cause: err });
  }
}
