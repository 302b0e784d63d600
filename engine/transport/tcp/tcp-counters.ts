/** What a transport has seen since it was made; for metrics and `STATS`. */
export type TcpCounters = {
  accepted: number;
  /** Peers of another cluster, or that meant another node. */
  refused: number;
  /** Connections broken off for a frame that makes no sense, or for silence. */
  broken: number;
  requests: number;
  /** Times that reading stopped for want of room. */
  holds: number;
  payloadBytesIn: number;
  payloadBytesOut: number;
};

export function newTcpCounters(): TcpCounters {
  return { accepted: 0, refused: 0, broken: 0, requests: 0, holds: 0, payloadBytesIn: 0, payloadBytesOut: 0 };
}
