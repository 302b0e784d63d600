export { FeatureFile, type FeatureFileOptions } from './feature-file.ts';
export { type NodeLabels, nodeLabels } from './node-labels.ts';
