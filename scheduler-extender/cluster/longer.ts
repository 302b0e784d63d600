/** Twice as long, with what was in it; the rest is what `make` fills it with. */
export function longer<T extends Float64Array | Int32Array | Uint8Array>(array: T, make: (length: number) => T): T {
  const copy = make(array.length * 2);
  copy.set(array);
  return copy;
}

export const ints = (length: number): Int32Array<ArrayBuffer> => new Int32Array(length);
