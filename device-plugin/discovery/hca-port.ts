import { type Attribute, line, wholeNumber } from './attribute.ts';
import { byName, eachInTurn, type Survey } from './survey.ts';

/** Numbers are those of the InfiniBand specification (14.2.5.6, PortInfo), names the kernel's. */
export type NumberedState = { readonly code: number; readonly name: string };
export type LinkLayer = 'InfiniBand' | 'Ethernet' | 'Unspecified';
export type PortRate = {
  readonly gigabitsPerSecond: number;
  readonly lanes: number | null;
  readonly speed: string | null;
};

/** A port, from <hca>/ports/<n> (Documentation/ABI/stable/sysfs-class-infiniband). */
export type HcaPort = {
  readonly number: number;
  readonly linkLayer: LinkLayer | null;
  /** 1 DOWN, 2 INIT, 3 ARMED, 4 ACTIVE, 5 ACTIVE_DEFER. */
  readonly state: NumberedState | null;
  /** 1 Sleep, 2 Polling, 3 Disabled, 4 PortConfigurationTraining, 5 LinkUp, 6 LinkErrorRecovery, 7 Phy Test. */
  readonly physState: NumberedState | null;
  readonly rate: PortRate | null;
  /** The network device of the port's first address (gid_attrs/ndevs/0): RoCE alone has one. */
  readonly netDevice: string | null;
};

/** '4: ACTIVE'. */
export const numberedState: Attribute<NumberedState> = {
  expected: 'a state such as 4: ACTIVE',
  parse(text) {
    const match = /^(\d{1,3}): ([^\n]{1,64})$/.exec(text);
    return match === null ? undefined : { code: Number(match[1]), name: match[2] ?? '' };
  },
};

/** '400 Gb/sec (4X NDR)'; old kernels leave the speed of SDR out. */
export const portRate: Attribute<PortRate> = {
  expected: 'a rate such as 400 Gb/sec (4X NDR)',
  parse(text) {
    const match = /^(\d{1,7}(?:\.\d{1,2})?) Gb\/sec(?: \((\d{1,2})X(?: ([A-Z]{2,4}\d{0,2}))?\))?$/.exec(text);
    if (match === null) return undefined;
    const [, rate, lanes, speed] = match;
    return { gigabitsPerSecond: Number(rate), lanes: lanes === undefined ? null : Number(lanes), speed: speed ?? null };
  },
};

export const linkLayer: Attribute<LinkLayer> = {
  expected: 'InfiniBand or Ethernet',
  parse(text) {
    if (text === 'InfiniBand' || text === 'Ethernet') return text;
    // What drivers/infiniband/core/sysfs.c prints for a port of neither kind.
    return text === 'Unknown' || text === 'Unspecified' ? 'Unspecified' : undefined;
  },
};

/** The ports of the HCA at a path in sysfs, by number. */
export async function discoverPorts(survey: Survey, hca: string): Promise<readonly HcaPort[]> {
  const { sys } = survey;
  const names = await survey.names(sys, `${hca}/ports`, /^\d{1,3}$/, 'finding');
  return await eachInTurn([...names].sort(byName), async (name): Promise<HcaPort | null> => {
    const at = `${hca}/ports/${name}`;
    const number = wholeNumber.parse(name);
    if (number === undefined) return null;
    return {
      number,
      linkLayer: await survey.value(sys, `${at}/link_layer`, linkLayer),
      state: await survey.value(sys, `${at}/state`, numberedState),
      physState: await survey.value(sys, `${at}/phys_state`, numberedState),
      rate: await survey.value(sys, `${at}/rate`, portRate),
      netDevice: await netDeviceOf(survey, at),
    };
  });
}

/** The file answers EINVAL for an address without a network device: every one of InfiniBand, unused ones of RoCE. No finding. */
async function netDeviceOf(survey: Survey, port: string): Promise<string | null> {
  const at = `${port}/gid_attrs/ndevs/0`;
  const text = await survey.sys.text(at);
  if (!text.ok && text.code === 'EINVAL') return null;
  const name = survey.taken(survey.sys, at, text, 'normal');
  return name === null ? null : (line.parse(name) ?? null);
}
