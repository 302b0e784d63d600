export { type FencePeers, FenceTakeover, fencePeersNeeded } from './fence-takeover.ts';
export { NodeMap } from './node-map.ts';
export { STOR_CONFIG, type StorConfig } from './stor-config.ts';
export { StorNode, type StorNodeOptions } from './stor-node.ts';
