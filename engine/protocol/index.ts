export { ByteReader } from './byte-reader.ts';
export { ByteWriter } from './byte-writer.ts';
export { crc32c } from './crc32c.ts';
export {
  decodeHeader,
  encodeHeader,
  FRAME_KIND,
  FrameHeader,
  HEADER_BYTES,
  MAX_META_BYTES,
  MAX_PAYLOAD_BYTES,
} from './frame.ts';
export { checkHello, clientHello, decodeHello, encodeHello, type HelloInfo, NO_DEVICE } from './hello.ts';
export { malformed } from './malformed.ts';
export type { CallOptions, NodeClient, PutShard, ShardRead } from './node-client.ts';
export { OP, type OpName, opName } from './op.ts';
export * from './owner-ops.ts';
export { RemoteNode } from './remote-node.ts';
export {
  checkWholeShard,
  decodeShardCrcs,
  decodeShardMeta,
  encodeShardMeta,
  MAX_SHARD_BYTES,
  patchMapEpoch,
  SHARD_FLAG,
  SHARD_KIND,
  SHARD_META_BYTES,
  type ShardKind,
  type ShardMeta,
  shardMetaLength,
  withShard,
} from './shard-meta.ts';
export * from './shard-ops.ts';
export { decodeError, encodeError, STATUS_ERROR, STATUS_OK } from './wire-error.ts';
