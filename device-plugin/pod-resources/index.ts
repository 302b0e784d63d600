export {
  type ClaimedDevice,
  type ContainerHolding,
  type HeldClaim,
  type HeldDevice,
  holdersAmong,
  type PodHolding,
} from './holding.ts';
export { PodResources, type PodResourcesOptions } from './pod-resources.ts';
