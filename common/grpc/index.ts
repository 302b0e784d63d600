export { formatAddress, isLoopback, parseAddress, type SocketAddress } from './address.ts';
export { type ClientOf, GrpcClient, type GrpcClientOptions, type StreamOptions, type UnaryOptions } from './client.ts';
export type { CallContext, Handlers, StreamContext } from './handlers.ts';
export { decodeMessage, encodeMessage, type MessageInit } from './message.ts';
export { GrpcServer, type GrpcServerOptions } from './server.ts';
export { type RequestOf, type ResponseOf, type ServiceSpec, serviceDefinition } from './service.ts';
export { fromGrpcError, toGrpcStatus } from './status.ts';
