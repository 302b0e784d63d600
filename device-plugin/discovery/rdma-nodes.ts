import { type Attribute, line, wholeNumber } from './attribute.ts';
import { type DeviceNode, deviceNodeOf } from './device-node.ts';
import type { HcaName } from './ids.ts';
import { byName, type Survey } from './survey.ts';

/** A device file for one port of an HCA: umad (management datagrams) or issm (being the subnet manager). */
export type RdmaPortNode = { readonly port: number; readonly node: DeviceNode };

/** The device files of one HCA (Documentation/infiniband/user_verbs.rst and user_mad.rst). */
export type RdmaNodes = {
  readonly uverbs: readonly DeviceNode[];
  readonly umad: readonly RdmaPortNode[];
  readonly issm: readonly RdmaPortNode[];
};

export type RdmaNodesByHca = ReadonlyMap<HcaName, RdmaNodes>;

const rdmaName: Attribute<HcaName> = {
  expected: 'the name of an RDMA device',
  parse: (text) => (line.parse(text) === undefined ? undefined : (text as HcaName)),
};

type Mutable = { uverbs: DeviceNode[]; umad: RdmaPortNode[]; issm: RdmaPortNode[] };

/**
 * Every uverbs, umad and issm device file by the HCA that its `ibdev` file names: infiniband_verbs/uverbs<n>/ibdev and
 * infiniband_mad/{umad,issm}<n>/{ibdev,port} (Documentation/ABI/stable/sysfs-class-infiniband).
 */
export async function discoverRdmaNodes(survey: Survey): Promise<RdmaNodesByHca> {
  const { sys } = survey;
  const byHca = new Map<HcaName, Mutable>();
  const nodesOf = (hca: HcaName): Mutable => {
    const nodes = byHca.get(hca) ?? { uverbs: [], umad: [], issm: [] };
    byHca.set(hca, nodes);
    return nodes;
  };
  for (const name of [...(await survey.names(sys, 'class/infiniband_verbs', /^uverbs\d+$/))].sort(byName)) {
    const at = `class/infiniband_verbs/${name}`;
    const hca = await survey.value(sys, `${at}/ibdev`, rdmaName);
    const node = await deviceNodeOf(survey, at);
    if (hca !== null && node !== null) nodesOf(hca).uverbs.push(node);
  }
  for (const name of [...(await survey.names(sys, 'class/infiniband_mad', /^(umad|issm)\d+$/))].sort(byName)) {
    const at = `class/infiniband_mad/${name}`;
    const hca = await survey.value(sys, `${at}/ibdev`, rdmaName);
    const port = await survey.value(sys, `${at}/port`, wholeNumber);
    const node = await deviceNodeOf(survey, at);
    if (hca === null || port === null || node === null) continue;
    nodesOf(hca)[name.startsWith('umad') ? 'umad' : 'issm'].push({ port, node });
  }
  return byHca;
}
