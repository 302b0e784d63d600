export type { HelloInfo } from '../protocol/hello.ts';
export {
  type Address,
  type Answer,
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
