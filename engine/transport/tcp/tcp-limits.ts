/** Bounds of one connection and of one listener. */
export type TcpLimits = {
  /** Requests of a connection that are not answered yet. A client waits over it, a server stops reading. */
  readonly maxInFlight: number;
  /** Payload bytes of those; a single request may be larger. */
  readonly maxBytesInFlight: number;
  /** Requests that may wait for room on a client's connection; one more is QUEUE_FULL. */
  readonly maxWaiting: number;
  readonly maxConnections: number;
  /** For the first frame of a new connection. */
  readonly handshakeTimeoutMs: number;
  /** A peer that takes no bytes, or stops in the middle of a frame, for this long is cut off. */
  readonly stallTimeoutMs: number;
};

export const DEFAULT_TCP_LIMITS: TcpLimits = {
  maxInFlight: 256,
  maxBytesInFlight: 64 * 1024 * 1024,
  maxWaiting: 4096,
  maxConnections: 1024,
  handshakeTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
};
