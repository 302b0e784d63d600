import { SeededRandom } from '../../common/ports/index.ts';
import { Slab } from '../../engine/slab/index.ts';
import { OpenerWorld, type Outcome } from './opener-world.ts';

const SHAPES = [
  { policy: 'ec:4+2', nodes: 6 },
  { policy: 'ec:4+2', nodes: 8 },
  { policy: 'ec:2+1', nodes: 4 },
  { policy: 'replica:3', nodes: 6 },
] as const;
const SLAB_BYTES = 128 << 20;

export type Schedule = (world: OpenerWorld) => Promise<void>;
export type Stack = 'model' | 'real';

let slab: Slab | undefined;

/** One schedule under one seed; throws what the last opener, or any other, found wrong. */
export async function playOpeners(seed: number, stack: Stack, schedule: Schedule): Promise<Outcome> {
  slab ??= Slab.create({ sizeBytes: SLAB_BYTES });
  const random = new SeededRandom(seed);
  const shape = SHAPES[seed % SHAPES.length] ?? SHAPES[0];
  const world = new OpenerWorld({
    ...shape,
    stack,
    slab,
    random,
    setOwnerMs: random.float() < 0.5 ? 3 : 300,
    lossRate: random.float() < 0.5 ? 0 : 0.03,
  });
  world.largeShare = random.float() < 0.5 ? 0 : 0.5;
  await schedule(world);
  return await world.finish();
}
