export type { HelloInfo } from '../protocol/index.ts';
export type { TcpCounters } from './tcp/tcp-counters.ts';
export { DEFAULT_TCP_LIMITS, type TcpLimits } from './tcp/tcp-limits.ts';
export { TcpTransport, type TcpTransportOptions } from './tcp/tcp-transport.ts';
export {
  type Address,
  type Answer,
  type AnswerPayload,
  type CallDeadline,
  type Connection,
  type IncomingRequest,
  type Listener,
  type OutgoingRequest,
  type PayloadRef,
  payloadOf,
  type Reply,
  type RequestHandler,
  type Transport,
} from './transport.ts';
