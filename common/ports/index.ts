export { type Clock, sleepOn, type Timer } from './clock.ts';
export { type Random, realRandom } from './random.ts';
export { realClock } from './real-clock.ts';
export { SeededRandom } from './seeded-random.ts';
export { SimClock } from './sim-clock.ts';
