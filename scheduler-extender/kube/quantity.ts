const FORM = /^([+-]?)(\d{1,30}(?:\.\d{0,18})?|\.\d{1,18})(m|k|Ki|[MGTPE]i?|[eE][+-]?\d{1,2})?$/;

const SUFFIXES: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * A resource.Quantity (apimachinery, "quantity.go") as a number, rounded up as the API server rounds. Sizes are multiples of
 * 4 KiB, so a double holds them and their sums exactly far beyond 2^53. Undefined where it is none or below zero.
 */
export function quantityOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  const match = typeof value === 'string' ? FORM.exec(value) : null;
  if (match === null || match[1] === '-') return undefined;
  const suffix = match[3] ?? '';
  const factor = suffix === '' ? 1 : (SUFFIXES[suffix] ?? Number(`1${suffix}`));
  const number = Math.ceil(Number(match[2]) * factor);
  return Number.isFinite(number) ? number : undefined;
}
