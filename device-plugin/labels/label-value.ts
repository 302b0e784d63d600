/** Kubernetes, apimachinery validation, IsValidLabelValue. */
const LIMIT_CHARS = 63;

/** Whatever a machine says, as the value of a label: other characters become '_'. Undefined when nothing is left of it. Pure. */
export function labelValue(text: string): string | undefined {
  const value = text
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .replace(/^[._-]+/, '')
    .slice(0, LIMIT_CHARS)
    .replace(/[._-]+$/, '');
  return value === '' ? undefined : value;
}
