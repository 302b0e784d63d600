import { type Clock, realClock, SeededRandom, type SimClock } from '../../../../common/ports/index.ts';
import {
  type BlobKey,
  contentKey,
  type NodeId,
  type Policy,
  parsePolicy,
  volumeId,
} from '../../../../engine/blob/index.ts';
import type { GetRequest, GetResult, PutResult } from '../../../../engine/client/index.ts';
import { FakeCluster } from './fake-cluster.ts';
import type { FakeNode } from './fake-node.ts';

export const EC = parsePolicy('ec:4+2');
export const VOLUME = volumeId('00112233445566778899aabbccddeeff');

export function bytesOf(length: number, seed = 1): Buffer {
  return Buffer.from(new SeededRandom(seed).bytes(length));
}

export function keyOf(text: string): BlobKey {
  return contentKey(Buffer.from(text));
}

/** Copies out what was read and gives the slot back. */
export function take({ slot, offset, length }: GetResult): Buffer {
  const copy = Buffer.from(slot.bytes.subarray(offset, offset + length));
  slot.release();
  return copy;
}

/** Lets real time pass event-loop turn by turn until the state is there. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves simulated time in small steps until the promise settles. */
export async function advancing<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = promise.finally(() => {
    settled = true;
  });
  done.catch(() => undefined);
  while (!settled) await clock.advance(5);
  return await done;
}

export function combinations(count: number, of: number): number[][] {
  const out: number[][] = [];
  const choose = (from: number, chosen: number[]): void => {
    if (chosen.length === count) out.push(chosen);
    else for (let at = from; at < of; at++) choose(at + 1, [...chosen, at]);
  };
  choose(0, []);
  return out;
}

/** A cluster of six nodes for each test, or another one that the test puts in its place. */
export class ClientBench {
  cluster: FakeCluster;

  constructor(nodes: number, clock: Clock) {
    this.cluster = new FakeCluster(nodes, clock);
  }

  readonly put = async (key: BlobKey | 'content', data: Buffer, policy: Policy = EC): Promise<PutResult> => {
    using deadline = this.cluster.deadline();
    return await this.cluster.client.put({ key, data, policy, deadline });
  };

  readonly get = async (key: BlobKey, more: Partial<GetRequest> = {}): Promise<GetResult> => {
    using deadline = this.cluster.deadline();
    return await this.cluster.client.get({ key, policy: EC, deadline, ...more });
  };

  /** The node that a put gave shard i to. */
  readonly owner = (result: PutResult, shard: number): FakeNode => this.cluster.node(result.nodes[shard] as NodeId);

  async close(): Promise<void> {
    for (const node of this.cluster.all()) {
      node.frozen = false;
      node.kill();
    }
    this.cluster.close();
    await until(() => this.cluster.slab.slots === this.cluster.slotsBefore);
  }
}

/** Makes a bench before each test of the suite and ends it after it. */
export function eachOnSixNodes(): { readonly bench: ClientBench } {
  const holder = { bench: undefined as ClientBench | undefined };
  beforeEach(() => {
    holder.bench = new ClientBench(6, realClock);
  });
  afterEach(async () => {
    await holder.bench?.close();
  });
  return {
    get bench() {
      if (holder.bench === undefined) throw new Error('only inside a test');
      return holder.bench;
    },
  };
}
