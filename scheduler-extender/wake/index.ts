export { KubeWakeCall } from './kube-wake-call.ts';
export { type Room, type WakeCall, Waker, type WakerOptions } from './waker.ts';
