import { Deadline } from '../../common/concurrency/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { BlobKey, NodeId } from '../blob/index.ts';
import type { CallDeadline } from '../transport/index.ts';
import type { NodeHealth } from './node-health.ts';
import type { ProbeAnswer } from './types.ts';

export type ProbePorts = { readonly health: NodeHealth; readonly clock: Clock; readonly mapEpoch: () => number };

/** Asks one node for one key. Never rejects: no answer within the bound is an answer too. */
export async function probeNode(
  ports: ProbePorts,
  node: NodeId,
  key: BlobKey,
  askStamp: bigint,
  outer: CallDeadline,
  nodeTimeoutMs: number,
): Promise<ProbeAnswer & { readonly deletedStamp?: bigint }> {
  using deadline = new Deadline({
    clock: ports.clock,
    operation: `asking node ${node}`,
    timeoutMs: Math.min(nodeTimeoutMs, outer.remainingMs()),
    parent: outer.signal,
  });
  try {
    const client = ports.health.peer(node).live ?? (await ports.health.clientOf(node, deadline));
    const [answer] = await deadline.race(client.lookup([key], askStamp, { deadline, mapEpoch: ports.mapEpoch() }));
    if (answer === undefined) return { state: 'silent', reason: 'it answered about no key' };
    const { state, shards, deletedStamp } = answer;
    return state === 'found' ? { state, shards, deletedStamp } : { state, deletedStamp };
  } catch (err) {
    return { state: 'silent', reason: err instanceof Error ? err.message : 'it gave no answer' };
  }
}
