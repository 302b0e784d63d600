import { NabuError } from '../common/errors/index.ts';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};
const QUANTITY = /^(\d{1,15}(?:\.\d{1,6})?)([kMGTP]|[KMGTP]i)?$/;

/** Bytes of a Kubernetes quantity such as `4Gi`, `500M` or `1.5Ti`. Throws INVALID_ARGUMENT naming the field. */
export function parseQuantity(field: string, text: string): number {
  const match = QUANTITY.exec(text);
  const bytes = Math.round(Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw NabuError.of('INVALID_ARGUMENT', {
    field,
    reason: `${JSON.stringify(text)} is not a size such as 500M, 4Gi or 1.5Ti`,
  });
}

/** For people: three digits and a binary unit. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit] ?? ''}`;
}
