const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** As people write sizes, with at most two places behind the point: '1.5 TiB'. */
export function sizeText(sizeBytes: number): string {
  let size = Math.max(0, sizeBytes);
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${Number(size.toFixed(2))} ${UNITS[unit]}`;
}
