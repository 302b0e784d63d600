import { NabuError } from '../../common/errors/index.ts';
import { parsePolicy } from '../../engine/blob/index.ts';
import { FAILURE_DOMAINS } from '../../engine/placement/index.ts';
import { printable, refuse } from './fields.ts';
import { DEFAULT_FS_TYPE, type FsType, parseFsType } from './fs-type.ts';
import { parseMkfsOptions } from './mkfs-options.ts';
import { checkMountOptions, parseMountOptions } from './mount-options.ts';

/** What a StorageClass may say. Empty strings and 0 leave the choice to control. */
export type Parameters = {
  /** Canonical, `ec:4+2`. */
  readonly policy: string;
  readonly failureDomain: string;
  readonly maxShardsPerDomain: number;
  readonly tier: string;
  readonly provisioning: string;
  readonly fsType: FsType | undefined;
  readonly mkfsOptions: string;
  readonly mountOptions: readonly string[];
  /** 0: writes that cannot be made safe wait without limit. */
  readonly ioTimeoutMs: number;
  /** Who asked, for people: the names that external-provisioner adds. */
  readonly origin: Readonly<Record<string, string>>;
};

const FS_TYPE_KEYS = ['fsType', 'csi.storage.k8s.io/fstype'] as const;
const ORIGIN_KEYS = [
  'csi.storage.k8s.io/pvc/name',
  'csi.storage.k8s.io/pvc/namespace',
  'csi.storage.k8s.io/pv/name',
] as const;
const OWN_KEYS = [
  'policy',
  'failureDomain',
  'maxShardsPerDomain',
  'fsType',
  'mkfsOptions',
  'mountOptions',
  'tier',
  'provisioning',
  'ioTimeout',
] as const;
const KNOWN: ReadonlySet<string> = new Set([...OWN_KEYS, ...FS_TYPE_KEYS, ...ORIGIN_KEYS]);

const TIER = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const DURATION = /^(\d{1,9})(ms|s|m|h)$/;
const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const MAX_IO_TIMEOUT_MS = 24 * UNIT_MS.h;

function oneOf(key: string, value: string, allowed: readonly string[]): string {
  if (value === '' || allowed.includes(value)) return value;
  throw refuse(`parameters.${key}`, `${JSON.stringify(printable(value))} is not one of ${allowed.join(', ')}`);
}

/** `30s`, `500ms`, `2m`, `1h`; empty, `0` and `none` mean without limit. */
export function parseIoTimeout(field: string, text: string): number {
  if (text === '' || text === '0' || text === 'none') return 0;
  const match = DURATION.exec(text);
  const unit = match?.[2] as keyof typeof UNIT_MS | undefined;
  const timeoutMs = unit === undefined ? 0 : Number(match?.[1]) * UNIT_MS[unit];
  if (timeoutMs < 1 || timeoutMs > MAX_IO_TIMEOUT_MS) {
    throw refuse(field, `${JSON.stringify(printable(text))} is not a time such as 30s, up to 24h, or none`);
  }
  return timeoutMs;
}

function parseShards(text: string): number {
  if (text === '') return 0;
  if (!/^[1-8]$/.test(text))
    throw refuse('parameters.maxShardsPerDomain', `${JSON.stringify(printable(text))} is not 1 to 8`);
  return Number(text);
}

function parseFsTypes(
  given: Readonly<Record<string, string>>,
  capabilityFsType: FsType | undefined,
): FsType | undefined {
  const named = FS_TYPE_KEYS.flatMap((key) => {
    const text = given[key] ?? '';
    return text === '' ? [] : [parseFsType(`parameters.${key}`, text)];
  });
  if (capabilityFsType !== undefined) named.push(capabilityFsType);
  if (new Set(named).size > 1)
    throw refuse('parameters.fsType', `and the capability ask for different file systems: ${named.join(', ')}`);
  return named[0];
}

/**
 * `capabilityFsType` is what the volume's capabilities ask for: a file system named twice must be the same.
 * Throws PARAMETER_UNKNOWN, POLICY_UNKNOWN or INVALID_ARGUMENT, each naming the parameter.
 */
export function parseParameters(
  given: Readonly<Record<string, string>>,
  capabilityFsType: FsType | undefined,
): Parameters {
  for (const key of Object.keys(given)) {
    if (!KNOWN.has(key)) throw NabuError.of('PARAMETER_UNKNOWN', { parameter: printable(key), allowed: [...KNOWN] });
  }
  const text = (key: (typeof OWN_KEYS)[number]): string => given[key] ?? '';
  const fsType = parseFsTypes(given, capabilityFsType);
  const mountOptions = parseMountOptions('parameters.mountOptions', [text('mountOptions')]);
  const forFs = fsType ?? DEFAULT_FS_TYPE;
  checkMountOptions('parameters.mountOptions', forFs, mountOptions);
  parseMkfsOptions('parameters.mkfsOptions', forFs, text('mkfsOptions'));
  const tier = text('tier');
  if (tier !== '' && !TIER.test(tier)) throw refuse('parameters.tier', 'is not a label of at most 63 characters');
  return {
    policy: text('policy') === '' ? '' : parsePolicy(text('policy')).name,
    failureDomain: oneOf('failureDomain', text('failureDomain'), FAILURE_DOMAINS),
    maxShardsPerDomain: parseShards(text('maxShardsPerDomain')),
    tier,
    provisioning: oneOf('provisioning', text('provisioning'), ['thick', 'thin']),
    fsType,
    mkfsOptions: text('mkfsOptions').trim().replaceAll(/\s+/g, ' '),
    mountOptions,
    ioTimeoutMs: parseIoTimeout('parameters.ioTimeout', text('ioTimeout')),
    origin: Object.fromEntries(
      ORIGIN_KEYS.flatMap((key) => {
        const value = given[key] ?? '';
        return value === '' ? [] : [[key, value] as const];
      }),
    ),
  };
}
