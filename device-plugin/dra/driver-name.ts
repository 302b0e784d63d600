/**
 * Who publishes our devices, and whom the kubelet asks to prepare them: a DNS subdomain of at most 63 characters. Not that
 * of the CSI driver, whose sockets have their names from it too.
 */
export const DRIVER_NAME = 'devices.nabustore.io';

/** The domain of what only we say of a device. */
const OWN = 'nabustore.io';
/** Said by every driver alike, so that one claim can hold devices of several together (deviceattribute, attribute.go). */
const STANDARD = 'resource.kubernetes.io';

/** Names of attributes and capacities; docs/device-plugin.md has the table. */
export const ATTRIBUTES = {
  pcieRoot: `${STANDARD}/pcieRoot`,
  pciBusId: `${STANDARD}/pciBusID`,
  kind: `${OWN}/kind`,
  resource: `${OWN}/resource`,
  numaNode: `${OWN}/numaNode`,
  vendor: `${OWN}/vendor`,
  product: `${OWN}/product`,
  driver: `${OWN}/driver`,
  rdmaDevice: `${OWN}/rdmaDevice`,
  netDevice: `${OWN}/netDevice`,
  linkLayer: `${OWN}/linkLayer`,
  /** Of the fastest port, in gigabits per second. */
  rate: `${OWN}/rate`,
  ports: `${OWN}/ports`,
  firmware: `${OWN}/firmware`,
  /** The same where it is a semantic version, for comparisons in CEL: one name has one type. */
  firmwareVersion: `${OWN}/firmwareVersion`,
  gdsMode: `${OWN}/gdsMode`,
  cufileVersion: `${OWN}/cufileVersion`,
  iommuGroup: `${OWN}/iommuGroup`,
  /** Of a device that is published once per slot. */
  slot: `${OWN}/slot`,
} as const;

/** How many claims share a device. */
export const SLOTS = `${OWN}/slots`;
/** The taint of a device that is unhealthy. Its value is the first cause's code. */
export const UNHEALTHY = `${OWN}/unhealthy`;
