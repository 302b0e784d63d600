export { type ForeignErrorSink, toNabuError } from './foreign.ts';
export { fromNative } from './from-native.ts';
export { isErrorCode, NabuError } from './nabu-error.ts';
export { ERRORS, type ErrorCode, type ErrorEntry, type FieldValue, GRPC_CODE, type GrpcCodeName } from './registry.ts';
