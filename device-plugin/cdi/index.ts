export { CdiSpecs } from './cdi-specs.ts';
export { editsOf } from './edits.ts';
export { type CdiKind, cdiKind, cdiName, type SpecName, specName } from './name.ts';
export {
  type CdiContent,
  type CdiDevice,
  type CdiDeviceNode,
  type CdiEdits,
  type CdiMount,
  type CdiSpec,
  cdiSpec,
} from './spec.ts';
