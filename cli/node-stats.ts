import { z } from 'zod';
import { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import { realClock } from '../common/ports/index.ts';
import type { MapNode } from '../engine/placement/index.ts';
import { clientHello, RemoteNode } from '../engine/protocol/index.ts';
import { openDataPlane } from './data-plane.ts';

const statsSchema = z.object({
  fences: z.object({ complete: z.boolean() }),
  store: z.object({
    capacityBytes: z.coerce.number(),
    usedBytes: z.coerce.number(),
    degraded: z.coerce.number(),
    state: z.string(),
  }),
});

export type NodeStats = {
  readonly capacityBytes: number;
  readonly usedBytes: number;
  /** Blobs that it holds and that lack a shard somewhere. */
  readonly degraded: number;
  /** ok, full, read-only or failed. */
  readonly state: string;
  readonly fencesComplete: boolean;
};

/** What a storage node says of itself; undefined when it does not answer within the time. */
export async function readNodeStats(
  clusterId: string,
  node: MapNode,
  timeoutMs: number,
): Promise<NodeStats | undefined> {
  const { transport } = openDataPlane();
  using deadline = new Deadline({ clock: realClock, operation: `asking ${node.id}`, timeoutMs });
  try {
    const connection = await transport.connect(node.address, clientHello(clusterId, node.id, 'nabu'), { deadline });
    try {
      const { fences, store } = statsSchema.parse(await new RemoteNode(connection).stats({ deadline }));
      return { ...store, fencesComplete: fences.complete };
    } finally {
      connection.close();
    }
  } catch (err) {
    if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT', 'PERMISSION_DENIED')) return undefined;
    throw err;
  }
}
