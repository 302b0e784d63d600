import { NabuError } from '../../common/errors/index.ts';

declare const brand: unique symbol;
/** 'vendor/class', e.g. 'nabustore.io/claim'. */
export type CdiKind = string & { readonly [brand]: 'CdiKind' };
/** What a spec file is about, unique among those of one kind, e.g. the uid of a claim. */
export type SpecName = string & { readonly [brand]: 'SpecName' };

/**
 * CDI 1.1, 'Kind': a DNS subdomain of at most 253 characters, and a name of at most 63. Stricter in two places: the vendor in
 * lower case, as DNS names are compared, and no '_' in the class, which ends it in the names of files.
 */
const VENDOR = /^(?=.{1,253}\/)[a-z]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\//;
const CLASS = /\/[A-Za-z]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/;
/** CDI 1.1, 'CDI Devices', and ':' as the library of the specification takes it. The length is ours. */
const DEVICE = /^[A-Za-z0-9]([A-Za-z0-9_.:-]{0,126}[A-Za-z0-9])?$/;
/** No '/', nothing hidden, and with kind and ending less than the 255 bytes of a file name. */
const SPEC = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,98}[A-Za-z0-9])?$/;

const SHOWN_CHARS = 160;

function refuse(field: string, text: string, wanted: string): NabuError {
  const reason = `${JSON.stringify(text.slice(0, SHOWN_CHARS))} is not ${wanted}`;
  return NabuError.of('INVALID_ARGUMENT', { field, reason });
}

export function isCdiKind(text: string): text is CdiKind {
  return VENDOR.test(text) && CLASS.test(text) && text.split('/').length === 2;
}

export function isSpecName(text: string): text is SpecName {
  return SPEC.test(text);
}

export function isCdiDevice(text: string): boolean {
  return DEVICE.test(text);
}

/** Throws INVALID_ARGUMENT. */
export function cdiKind(text: string): CdiKind {
  if (isCdiKind(text)) return text;
  throw refuse('CDI kind', text, "a DNS name, '/' and a class of letters, digits, '-' and '.'");
}

/** Throws INVALID_ARGUMENT. Claim uids, PCI addresses with '-' for ':' and unit ids all pass. */
export function specName(text: string): SpecName {
  if (isSpecName(text)) return text;
  throw refuse('CDI spec name', text, "1 to 100 letters, digits, '-' and '.', a letter or digit at both ends");
}

/** 'vendor/class=device': what the kubelet passes on to the runtime. Throws INVALID_ARGUMENT. */
export function cdiName(kind: CdiKind, device: string): string {
  if (isCdiDevice(device)) return `${kind}=${device}`;
  throw refuse('CDI device', device, "1 to 128 letters, digits, '_', '-', '.' and ':', a letter or digit at both ends");
}
