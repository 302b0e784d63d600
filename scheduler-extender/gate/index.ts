export { ExtenderHealth, type Probe } from './extender-health.ts';
export { GateController, type GateControllerOptions, type GateRate } from './gate-controller.ts';
export type { GatedPod, GatedPodApi, GatedPodSink, Whereabouts } from './gated-pods.ts';
export { KubeGatedPods } from './kube-gated-pods.ts';
export { readyProbe } from './ready-probe.ts';
export { TokenBucket } from './token-bucket.ts';
export { whereabouts } from './whereabouts.ts';
