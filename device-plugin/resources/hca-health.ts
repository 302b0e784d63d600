import type { HcaSelector, RdmaConfig } from '../config/index.ts';
import type { DeviceNode, Hca, HcaPort, Inventory } from '../discovery/index.ts';
import type { Cause } from './unit.ts';

export type HcaDeviceFile = RdmaConfig['deviceFiles'][number];

/** What keeps an HCA from being used over one of its ports with these device files. Pure. */
export function hcaCauses(
  hca: Hca,
  { linkStates, linkLayers }: Pick<HcaSelector, 'linkStates' | 'linkLayers'>,
  kinds: readonly HcaDeviceFile[],
  machine: Pick<Inventory, 'rdmaCm'>,
): readonly Cause[] {
  const ports = hca.ports.filter(
    ({ linkLayer }) => linkLayer === null || linkLayers === undefined || linkLayers.some((one) => one === linkLayer),
  );
  return [...linkCauses(hca, ports, linkStates), ...kinds.flatMap((kind) => fileCauses(hca, kind, machine))];
}

function linkCauses(hca: Hca, ports: readonly HcaPort[], linkStates: readonly string[]): readonly Cause[] {
  if (ports.length === 0) return [{ code: 'unreadable', detail: `${hca.name} shows no port` }];
  if (ports.some(({ state }) => state !== null && linkStates.includes(state.name))) return [];
  return ports.map(({ number, state }): Cause => {
    if (state === null)
      return { code: 'unreadable', detail: `the state of port ${number} of ${hca.name} cannot be read` };
    return { code: 'link', detail: `port ${number} of ${hca.name} is ${state.name}` };
  });
}

function fileCauses(hca: Hca, kind: HcaDeviceFile, machine: Pick<Inventory, 'rdmaCm'>): readonly Cause[] {
  const nodes = deviceFilesOf(hca, kind, machine);
  if (nodes.length === 0) {
    const missing = kind === 'rdma_cm' ? 'rdma_ucm is not loaded: there is no rdma_cm' : `${hca.name} has no ${kind}`;
    return [{ code: 'device-file', detail: missing }];
  }
  return nodes
    .filter(({ isPresent }) => !isPresent)
    .map(({ path }): Cause => ({ code: 'device-file', detail: `${path} is missing or another device` }));
}

/** The device files of one kind that go with an HCA; none where its driver has made none. */
export function deviceFilesOf(
  hca: Hca,
  kind: HcaDeviceFile,
  { rdmaCm }: Pick<Inventory, 'rdmaCm'>,
): readonly DeviceNode[] {
  if (kind === 'rdma_cm') return rdmaCm === null ? [] : [rdmaCm];
  return kind === 'uverbs' ? hca.uverbs : hca[kind].map(({ node }) => node);
}
