import type { Epoch } from '../blob/index.ts';
import type { MapNode } from '../placement/index.ts';
import type { NodeClient } from '../protocol/index.ts';
import type { CallDeadline } from '../transport/index.ts';

/** One live connection to a node. */
export type NodeLink = {
  readonly client: NodeClient;
  /** Resolves with the reason when the connection is gone; never rejects. */
  readonly closed: Promise<Error | undefined>;
  close(): void;
};

/** Told what a connection shows about its node while it is used. */
export type LinkObserver = {
  /** A node answered with a map that is newer than ours. */
  newerMap(epoch: Epoch): void;
};

/** How a node is reached: over a transport, or in one process in tests. */
export interface NodeConnector {
  /** UNAVAILABLE, TIMEOUT, PERMISSION_DENIED, PROTOCOL_ERROR. */
  connect(node: MapNode, observer: LinkObserver, deadline: CallDeadline): Promise<NodeLink>;
}
