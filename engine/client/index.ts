export { BlobClient, type BlobClientOptions, type ClientLimits } from './blob-client.ts';
export type { LinkObserver, NodeConnector, NodeLink } from './node-connector.ts';
export { NodeHealth, type NodeHealthOptions } from './node-health.ts';
export type { PeerState, PeerStatus } from './node-peer.ts';
export { NodeVolumeReaper, type NodeVolumeReaperOptions } from './node-volume-reaper.ts';
export { type ReadEvidence, readVerdict } from './read-verdict.ts';
export { TransportConnector, type TransportConnectorOptions } from './transport-connector.ts';
export type {
  BlobStat,
  BlobStore,
  DeleteRequest,
  GetRequest,
  GetResult,
  LogWrite,
  ProbeAnswer,
  ProbeRequest,
  PutOptions,
  PutRequest,
  PutResult,
  PutStripeRequest,
  ShardFound,
  Spread,
  StatRequest,
  StripeBuffer,
  Waiting,
  WaitingListener,
} from './types.ts';
export { planWrite, type WritePlan, type WriteSituation } from './write-plan.ts';
