export { AnsweringEndpoint, type AnsweringEndpointOptions, type EndpointStore } from './answering-endpoint.ts';
export { KubeEndpointStore } from './kube-endpoint-store.ts';
export { KubeLeaseStore } from './kube-lease-store.ts';
export {
  LEASE_TIMES,
  LeaderLease,
  type LeaderLeaseOptions,
  type LeaseRecord,
  type LeaseStore,
  type LeaseTimes,
} from './leader-lease.ts';
export { Leadership, type LeadershipOptions } from './leadership.ts';
