import assert from 'node:assert/strict';
import { compareWriterEpochs, type NodeId, type Policy, type WriterEpoch } from '../../engine/blob/index.ts';
import type { BlobStore } from '../../engine/client/index.ts';
import type { HomeNodes } from '../../engine/volume/home-nodes.ts';
import type { SimClient } from './sim-cluster.ts';

/** The fewest nodes that hold an acknowledged log blob; reckoned here and not by the code under test. */
export function fewestHolders({ kind, m }: Policy): number {
  return kind === 'ec' ? m + 1 : Math.floor((m + 1) / 2) + 1;
}

/**
 * The client of an opener, watched: nothing may be asked about the log before so many nodes confirmed the fence that those without it
 * cannot hold an acknowledged put. What comes later (notes, replay) happens to ask for as many, so no history shows it.
 */
export function fenceFirst(client: SimClient, epoch: WriterEpoch, leastFenced: number): SimClient {
  const { blobs, nodes } = client;
  const fenced = new Set<NodeId>();
  const watchedNodes: HomeNodes = {
    setOwner: async (node, owner, update, deadline) => {
      const state = await nodes.setOwner(node, owner, update, deadline);
      if (compareWriterEpochs(state.fence, epoch) === 0) fenced.add(node);
      return state;
    },
    deleteOwnerRange: (...call) => nodes.deleteOwnerRange(...call),
  };
  const watchedBlobs: BlobStore = {
    tryAllocStripe: (...call) => blobs.tryAllocStripe(...call),
    allocStripe: (...call) => blobs.allocStripe(...call),
    put: (request) => blobs.put(request),
    putStripe: (request) => blobs.putStripe(request),
    get: (request) => blobs.get(request),
    exists: (request) => blobs.exists(request),
    stat: (request) => blobs.stat(request),
    delete: (request) => blobs.delete(request),
    probe: async (request) => {
      assert.ok(fenced.size >= leastFenced, `the log is looked at with a fence on ${fenced.size} nodes`);
      return await blobs.probe(request);
    },
  };
  return { ...client, blobs: watchedBlobs, nodes: watchedNodes };
}
