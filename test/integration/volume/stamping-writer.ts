// Writes stamped blocks and verifies them, as a process of its own: its system calls wait in the kernel while a server is dead.
// Driven over the channel of fork() by writer-process.ts. usage: stamping-writer.ts SEED
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { SeededRandom } from '../../../common/ports/index.ts';
import { Slab } from '../../../engine/slab/index.ts';
import { StampedArea } from './stamped-area.ts';
import type { WriterAnswer, WriterCommand, WriterCounts } from './writer-process.ts';

const AREA_BLOCKS = 2048;
const MIB = 1 << 20;

/** O_DIRECT: what is read comes from the volume, what is completed is with its server. Buffered: completed means little before fsync. */
type Target = {
  readonly name: 'raw' | 'file';
  readonly direct: boolean;
  readonly areas: StampedArea[];
  file: FileHandle | undefined;
  /** For reading what lies on the device, whatever the page cache holds. */
  verifying: FileHandle | undefined;
};

const random = new SeededRandom(Number(process.argv[2] ?? '1'));
const slab = Slab.create({ sizeBytes: 16 * MIB });
let nextArea = 1;
const target = (name: Target['name'], direct: boolean, areas: number): Target => ({
  name,
  direct,
  areas: Array.from({ length: areas }, (_, index) => {
    const area = new SeededRandom(random.uint32());
    return new StampedArea({
      id: nextArea++,
      firstBlock: index * AREA_BLOCKS,
      blocks: AREA_BLOCKS,
      random: area,
      slab,
    });
  }),
  file: undefined,
  verifying: undefined,
});
const targets = [target('raw', true, 4), target('file', false, 2)];
const counts = { writes: 0, flushes: 0, verified: 0 };
let faults: string[] = [];
let running = false;
let losing = false;
let work: Promise<void>[] = [];

async function openTargets(paths: { raw: string; file: string }): Promise<void> {
  for (const one of targets) {
    const path = paths[one.name];
    const direct = await open(path, constants.O_RDWR | constants.O_DIRECT);
    one.verifying = direct;
    one.file = one.direct ? direct : await open(path, 'r+');
  }
}

async function closeTargets(): Promise<void> {
  for (const one of targets) {
    // Both may say that the device is gone.
    const files = new Set([one.file, one.verifying]);
    for (const file of files) await file?.close().catch(() => undefined);
    one.file = one.verifying = undefined;
  }
}

function opened(one: Target): { file: FileHandle; verifying: FileHandle } {
  const { file, verifying } = one;
  if (file === undefined || verifying === undefined) throw new Error(`${one.name} is not open`);
  return { file, verifying };
}

async function write(one: Target, area: StampedArea, dice: SeededRandom): Promise<void> {
  const { file, verifying } = opened(one);
  while (running) {
    const roll = dice.float();
    if (roll < 0.6) {
      await area.write(file);
      counts.writes++;
    } else if (roll < 0.75) {
      await area.flush(file);
      counts.flushes++;
    } else {
      await area.verify(verifying);
      counts.verified++;
    }
    // Room for the others: this is about kills, not about throughput.
    await new Promise((resolve) => setTimeout(resolve, dice.float() * 8));
  }
}

function start(): void {
  running = true;
  work = targets.flatMap((one) =>
    one.areas.map(async (area) => {
      try {
        await write(one, area, new SeededRandom(random.uint32()));
      } catch (err) {
        if (!losing) faults.push(`${one.name}: ${err instanceof Error ? err.message : String(err)}`);
      }
    }),
  );
}

/** Every area, one after the other: each must be exactly what was completed. */
async function verifyAll(): Promise<void> {
  for (const one of targets) {
    const { file, verifying } = opened(one);
    for (const area of one.areas) {
      try {
        await area.verifyAll(one.direct ? verifying : file);
        if (!one.direct) await area.verifyAll(verifying);
      } catch (err) {
        faults.push(`${one.name}: ${err instanceof Error ? err.message : String(err)}`);
      }
    }
  }
}

async function each(act: (one: Target, area: StampedArea) => Promise<void>): Promise<void> {
  await Promise.all(targets.flatMap((one) => one.areas.map((area) => act(one, area))));
}

async function run(command: WriterCommand): Promise<void> {
  switch (command.do) {
    case 'open':
      return await openTargets(command);
    case 'prepare':
      // Every block of the file is written and on the disk: later writes of it need no change of the file system's own records.
      return await each(async (one, area) => {
        const { file } = opened(one);
        for (let block = 0; block < area.blocks; block += 64) await area.writeRange(file, block, 64);
        await area.flush(file);
      });
    case 'start':
      return start();
    case 'pause':
      running = false;
      await Promise.all(work);
      return;
    case 'verify':
      return await verifyAll();
    case 'complete-one':
      return await each(async (one, area) => await area.write(opened(one).file));
    case 'flush':
      return await each(async (one, area) => await area.flush(opened(one).file));
    case 'expect-loss':
      losing = true;
      return;
    case 'close':
      return await closeTargets();
    case 'settle':
      losing = false;
      return await each(async (one, area) => await area.settleAfterLoss(opened(one).verifying, one.direct));
  }
}

process.on('message', (message: { id: number; command: WriterCommand }) => {
  const answer = (fault?: string): void => {
    const told: WriterCounts = { ...counts, faults };
    faults = [];
    const body: WriterAnswer = { id: message.id, counts: told, ...(fault === undefined ? {} : { fault }) };
    process.send?.(body);
  };
  run(message.command).then(
    () => answer(),
    (err: unknown) => answer(err instanceof Error ? err.message : String(err)),
  );
});
process.on('disconnect', () => process.exit(0));
