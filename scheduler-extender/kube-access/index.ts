export { kubeConfigOf } from './kube-config.ts';
export { objectName } from './object-name.ts';
