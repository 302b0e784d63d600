import { NabuError } from '../../common/errors/index.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { PROTOCOL_VERSION } from './frame.ts';
import { malformed } from './malformed.ts';

/** Who speaks. Both sides say it in their first frame; both refuse a peer of another cluster. */
export type HelloInfo = {
  /** 32 lower-case hex digits. */
  readonly clusterId: string;
  /** A node's own id; of a client the id of the node it means to reach, '' for whoever answers. */
  readonly nodeId: string;
  /** 32 lower-case hex digits; zeros for a client. */
  readonly deviceId: string;
  /** Of the node's store; 0n for a client. */
  readonly incarnation: bigint;
  /** A node's fence table is complete. */
  readonly fencesComplete: boolean;
  /** Who this is, for logs: at most 255 bytes. */
  readonly label: string;
};

/** Bits of features that a peer must know to talk to us; none yet. */
const REQUIRED_FEATURES = 0n;
const HEX_32 = /^[0-9a-f]{32}$/;
const NODE_ID = /^[a-z0-9-]{0,63}$/;
export const NO_DEVICE = '0'.repeat(32);

/** What a client says of itself. */
export function clientHello(clusterId: string, wantedNodeId: string, label: string): HelloInfo {
  return { clusterId, nodeId: wantedNodeId, deviceId: NO_DEVICE, incarnation: 0n, fencesComplete: false, label };
}

export function encodeHello(hello: HelloInfo): Buffer {
  const node = Buffer.from(hello.nodeId);
  const label = Buffer.from(hello.label).subarray(0, 255);
  return new ByteWriter(64 + node.length + label.length)
    .u16(PROTOCOL_VERSION)
    .u16(PROTOCOL_VERSION)
    .u32(0)
    .u64(REQUIRED_FEATURES)
    .bytes(Buffer.from(hello.clusterId, 'hex'), 16, 'clusterId')
    .bytes(Buffer.from(hello.deviceId, 'hex'), 16, 'deviceId')
    .u64(hello.incarnation)
    .flag(hello.fencesComplete)
    .u8(node.length)
    .u8(label.length)
    .zeros(5)
    .bytes(node, node.length, 'nodeId')
    .bytes(label, label.length, 'label')
    .done();
}

/** Throws PROTOCOL_ERROR for a hello that makes no sense or that this release cannot talk to. */
export function decodeHello(bytes: Uint8Array): HelloInfo {
  const read = new ByteReader(bytes, 'hello');
  const lowest = read.u16();
  const highest = read.u16();
  if (lowest > PROTOCOL_VERSION || highest < PROTOCOL_VERSION) {
    throw malformed(`speaks versions ${lowest} to ${highest}, this release ${PROTOCOL_VERSION}`);
  }
  read.zeros(4);
  const required = read.u64();
  if ((required & ~REQUIRED_FEATURES) !== 0n) throw malformed(`requires features 0x${required.toString(16)}`);
  const clusterId = Buffer.from(read.bytes(16)).toString('hex');
  const deviceId = Buffer.from(read.bytes(16)).toString('hex');
  const incarnation = read.u64();
  const fencesComplete = read.flag();
  const nodeLength = read.u8();
  const labelLength = read.u8();
  read.zeros(5);
  const nodeId = read.text(nodeLength);
  const label = read.text(labelLength);
  read.end();
  if (!NODE_ID.test(nodeId)) throw malformed('hello: not a node id');
  return { clusterId, nodeId, deviceId, incarnation, fencesComplete, label };
}

/** Throws INVALID_ARGUMENT for a hello that could not be sent. */
export function checkHello(hello: HelloInfo): void {
  for (const field of ['clusterId', 'deviceId'] as const) {
    if (!HEX_32.test(hello[field])) {
      throw NabuError.of('INVALID_ARGUMENT', { field, reason: 'is not 32 lower-case hex digits' });
    }
  }
  if (!NODE_ID.test(hello.nodeId)) {
    throw NabuError.of('INVALID_ARGUMENT', { field: 'nodeId', reason: "is not of a-z, 0-9 and '-'" });
  }
}
