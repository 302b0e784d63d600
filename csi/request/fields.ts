import { isAbsolute, normalize } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { isVolumeId, type VolumeId } from '../../engine/blob/index.ts';

/** CSI 1.12, "Size Limits": the longest a name or an id may be. */
const TEXT_LIMIT_BYTES = 128;
/** Paths are shorter than the kernel's PATH_MAX. */
const PATH_LIMIT_BYTES = 4095;
/** What no path, log line or terminal could misread: no white space, no control or unassigned character, no slash of either kind. */
const NAME = /^[^\s\p{C}/\\]+$/u;
/** RFC 1123 host names and cloud instance ids. */
const NODE_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

export function refuse(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field, reason });
}

function requireText(field: string, value: string): string {
  if (value === '') throw refuse(field, 'is missing');
  const length = Buffer.byteLength(value);
  if (length > TEXT_LIMIT_BYTES) throw refuse(field, `has ${length} bytes, at most ${TEXT_LIMIT_BYTES} are taken`);
  return value;
}

export function requireName(field: string, value: string): string {
  requireText(field, value);
  if (!NAME.test(value))
    throw refuse(field, "may only have letters, digits, '.', '_' and '-', a letter or digit first");
  if (value.includes('..')) throw refuse(field, "may not have '..'");
  return value;
}

export function requireNodeName(field: string, value: string): string {
  requireText(field, value);
  if (!NODE_NAME.test(value)) throw refuse(field, 'is not a host name');
  return value;
}

/** `undefined` for text that cannot be an id of ours: such a volume does not exist, which is not a malformed request. */
export function volumeIdOf(field: string, value: string): VolumeId | undefined {
  requireText(field, value);
  return isVolumeId(value) ? value : undefined;
}

/** Throws INVALID_ARGUMENT when it is missing or too long, VOLUME_NOT_FOUND when it cannot be one of ours. */
export function requireVolumeId(field: string, value: string): VolumeId {
  const id = volumeIdOf(field, value);
  if (id === undefined) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: printable(value) });
  return id;
}

/** Absolute, normalised (no `..`, no doubled slashes), without NUL and without a slash at its end. */
export function requirePath(field: string, value: string): string {
  if (value === '') throw refuse(field, 'is missing');
  if (value.includes('\0')) throw refuse(field, 'has a NUL');
  if (Buffer.byteLength(value) > PATH_LIMIT_BYTES) throw refuse(field, 'is longer than a path may be');
  if (!isAbsolute(value)) throw refuse(field, 'is not an absolute path');
  const bare = value.length > 1 ? value.replace(/\/+$/, '') : value;
  if (normalize(bare) !== bare || bare === '/') throw refuse(field, "is not a plain path: no '..', '.' or doubled '/'");
  return bare;
}

/** No call of ours takes secrets, so a secret is a mistake of the StorageClass. Its value is never repeated. */
export function refuseSecrets(secrets: Readonly<Record<string, string>>): void {
  const names = Object.keys(secrets);
  if (names.length > 0) throw NabuError.of('SECRET_UNKNOWN', { secrets: names.map(printable) });
}

/** Text of a request, made safe for a message: control characters are shown escaped. */
export function printable(text: string): string {
  return text.slice(0, 256).replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
