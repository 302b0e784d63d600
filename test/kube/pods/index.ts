export { Namespace } from './namespace.ts';
export { pod } from './pod.ts';
