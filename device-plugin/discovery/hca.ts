import { type Attribute, guid, line } from './attribute.ts';
import { discoverPorts, type HcaPort, type NumberedState, numberedState } from './hca-port.ts';
import type { Guid, HcaName } from './ids.ts';
import { type PciFunction, type PciFunctions, pciPlaceOf } from './pci.ts';
import type { RdmaNodes, RdmaNodesByHca } from './rdma-nodes.ts';
import { byName, eachInTurn, type Survey } from './survey.ts';

/** A network interface of an HCA, from device/net/<name> (Documentation/ABI/testing/sysfs-class-net). */
export type NetDevice = { readonly name: string; readonly state: string | null };

/** An RDMA device, from /sys/class/infiniband/<name> (Documentation/ABI/stable/sysfs-class-infiniband). */
export type Hca = {
  readonly name: HcaName;
  /** Null for a device without hardware, such as rdma_rxe. */
  readonly pci: PciFunction | null;
  /** 1 CA, 2 switch, 3 router, 4 RNIC (iWARP). */
  readonly nodeType: NumberedState | null;
  readonly nodeGuid: Guid | null;
  readonly systemImageGuid: Guid | null;
  readonly firmware: string | null;
  /** The vendor's board id (PSID); not every driver has one. */
  readonly boardId: string | null;
  readonly ports: readonly HcaPort[];
  readonly netDevices: readonly NetDevice[];
} & RdmaNodes;

/** Documentation/ABI/testing/sysfs-class-net, operstate; 'unknown' is what IPoIB and many virtual interfaces say. */
const operationalState: Attribute<string> = {
  expected: 'the operational state of an interface',
  parse: (text) => (/^[a-z]{2,16}$/.test(text) ? text : undefined),
};

const NO_NODES: RdmaNodes = { uverbs: [], umad: [], issm: [] };

/** Every HCA, by name. One that is only half readable is there with nulls, and findings say why. */
export async function discoverHcas(survey: Survey, pci: PciFunctions, nodes: RdmaNodesByHca): Promise<readonly Hca[]> {
  const names = await survey.names(survey.sys, 'class/infiniband', /./);
  const hcas = await eachInTurn([...names].sort(byName), (name) => hcaNamed(survey, pci, nodes, name as HcaName));
  const found = new Set(hcas.map(({ name }) => name));
  for (const name of nodes.keys()) {
    if (!found.has(name))
      survey.note(survey.sys, `class/infiniband/${name}`, 'is missing, yet device files belong to it');
  }
  return hcas;
}

async function hcaNamed(survey: Survey, pci: PciFunctions, nodes: RdmaNodesByHca, name: HcaName): Promise<Hca | null> {
  const { sys } = survey;
  const at = `class/infiniband/${name}`;
  const path = await survey.target(sys, at, 'finding');
  if (path === null) return null;
  const { address } = pciPlaceOf(path);
  return {
    name,
    pci: address === null ? null : await pci.at(address),
    nodeType: await survey.value(sys, `${at}/node_type`, numberedState),
    nodeGuid: await survey.value(sys, `${at}/node_guid`, guid),
    systemImageGuid: await survey.value(sys, `${at}/sys_image_guid`, guid),
    firmware: await survey.value(sys, `${at}/fw_ver`, line, 'normal'),
    boardId: await survey.value(sys, `${at}/board_id`, line, 'normal'),
    ports: await discoverPorts(survey, at),
    netDevices: await netDevicesOf(survey, at),
    ...(nodes.get(name) ?? NO_NODES),
  };
}

async function netDevicesOf(survey: Survey, hca: string): Promise<readonly NetDevice[]> {
  const names = await survey.names(survey.sys, `${hca}/device/net`, /./);
  return await eachInTurn([...names].sort(byName), async (name) => ({
    name,
    state: await survey.value(survey.sys, `${hca}/device/net/${name}/operstate`, operationalState),
  }));
}
