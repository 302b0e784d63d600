export type { HugePages } from './native.ts';
export { Slab, type SlabOptions, type Until } from './slab.ts';
export { Slot } from './slot.ts';
