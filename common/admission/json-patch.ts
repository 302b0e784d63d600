/** RFC 6902, section 4.1. */
export type AddOperation = { readonly op: 'add'; readonly path: string; readonly value: unknown };

/** RFC 6901, section 3. */
export function pointer(...parts: readonly (string | number)[]): string {
  return parts.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
