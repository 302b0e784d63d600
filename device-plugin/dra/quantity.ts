/** As the API server writes it (apimachinery, resource.Quantity, canonical form): '1k' for 1,000. */
export function quantityText(value: number): string {
  return value > 0 && value % 1000 === 0 ? `${value / 1000}k` : String(value);
}

/** Undefined for what is no whole number up to 999,999 in that form. */
export function quantityOf(text: string): number | undefined {
  const match = /^(\d{1,6})$|^(\d{1,3})k$/.exec(text);
  if (match === null) return undefined;
  return match[2] === undefined ? Number(match[1]) : Number(match[2]) * 1000;
}
