import type { Clock } from '../../common/ports/index.ts';
import type { MapNode, MapSource } from '../placement/index.ts';
import { clientHello, RemoteNode } from '../protocol/index.ts';
import type { CallDeadline, Transport } from '../transport/index.ts';
import type { LinkObserver, NodeConnector, NodeLink } from './node-connector.ts';
import { WatchedConnection } from './watched-connection.ts';

export type TransportConnectorOptions = {
  readonly transport: Transport;
  readonly maps: MapSource;
  readonly clock: Clock;
  readonly stallMs: number;
  readonly label: string;
};

/** Reaches nodes over a transport, and watches each connection for silence and for newer maps. */
export class TransportConnector implements NodeConnector {
  readonly #options: TransportConnectorOptions;

  constructor(options: TransportConnectorOptions) {
    this.#options = options;
  }

  async connect(node: MapNode, observer: LinkObserver, deadline: CallDeadline): Promise<NodeLink> {
    const { transport, maps, clock, stallMs, label } = this.#options;
    const hello = clientHello(maps.current().clusterId, node.id, label);
    const connection = new WatchedConnection(await transport.connect(node.address, hello, { deadline }), {
      clock,
      stallMs,
      mapEpoch: () => maps.current().epoch,
      newerMap: (epoch) => observer.newerMap(epoch),
    });
    return { client: new RemoteNode(connection), closed: connection.closed, close: () => connection.close() };
  }
}
