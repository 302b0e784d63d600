import { NabuError } from '../../common/errors/index.ts';

export type ObjectName = { readonly namespace: string; readonly name: string };

/** An option that is NAMESPACE/NAME. Throws CONFIG_INVALID. */
export function objectName(option: string, text: string): ObjectName {
  const [namespace, name, rest] = text.split('/');
  if (namespace && name && rest === undefined) return { namespace, name };
  throw NabuError.of('CONFIG_INVALID', { source: option, reason: `${JSON.stringify(text)} is not NAMESPACE/NAME` });
}
