export { Footprint, type FootprintOptions } from './footprint.ts';
