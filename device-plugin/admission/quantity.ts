const BINARY = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL: ReadonlyMap<string, number> = new Map([
  ['n', -9],
  ['u', -6],
  ['m', -3],
  ['', 0],
  ['k', 3],
  ['M', 6],
  ['G', 9],
  ['T', 12],
  ['P', 15],
  ['E', 18],
]);
const QUANTITY = /^\+?(\d{0,32})(?:\.(\d{0,32}))?(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{1,2}))?$/;

/**
 * A Kubernetes quantity (apimachinery, pkg/api/resource) that is a whole number and not negative, exactly. Undefined for any
 * other: the API server has its own words for those. Pure.
 */
export function wholeQuantity(text: string | number): bigint | undefined {
  const match = QUANTITY.exec(String(text));
  const [, whole = '', fraction = '', binary, decimal = '', exponent] = match ?? [];
  if (whole === '' && fraction === '') return undefined;
  const digits = BigInt(whole + fraction);
  const power = exponent === undefined ? (DECIMAL.get(decimal) ?? 0) : Number(exponent);
  const numerator = digits * (binary === undefined ? 1n : 1024n ** BigInt(BINARY.indexOf(binary) + 1));
  const tens = (binary === undefined ? power : 0) - fraction.length;
  if (tens >= 0) return numerator * 10n ** BigInt(tens);
  const divisor = 10n ** BigInt(-tens);
  return numerator % divisor === 0n ? numerator / divisor : undefined;
}

/** Bytes as a quantity with the largest binary suffix that gives a whole number, '64Mi'. */
export function quantityText(bytes: bigint): string {
  let value = bytes;
  let steps = 0;
  while (value !== 0n && value % 1024n === 0n && steps < BINARY.length) {
    value /= 1024n;
    steps++;
  }
  return `${value}${BINARY[steps - 1] ?? ''}`;
}
