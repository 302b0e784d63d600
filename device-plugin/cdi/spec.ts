import { posix } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { isCdiDevice, isCdiKind } from './name.ts';

// What a spec file may say, by CDI 1.1 (SPEC.md, 'CDI JSON Specification') and the checks of the library that runtimes read
// it with, a file of which one field fails being none to them. Where those let pass what no runtime could mean ('..' in
// a path, a comma inside of a mount option), this refuses it. Left out, as nothing here has it: intelRdt and netDevices.

const MAX_PATH_CHARS = 4095; // PATH_MAX without its end
const MAX_ITEMS = 1024;

const text = z
  .string()
  .max(4096)
  .regex(/^[^\u0000-\u001f\u007f]*$/, 'no control characters');

const path = text
  .max(MAX_PATH_CHARS)
  .refine((given) => given.startsWith('/') && posix.normalize(given) === given, "an absolute path without '..'")
  .refine((given) => given !== '/', 'not the root');

const env = text.regex(/^[A-Za-z_][A-Za-z0-9_]*=/, 'NAME=VALUE');

const numericId = z.int().min(0).max(0xffff_fffe);
const deviceNumber = z.int().min(0).max(0xffff_ffff);

const deviceNodeSchema = z.strictObject({
  path,
  hostPath: path.optional(),
  type: z.enum(['b', 'c', 'u', 'p']).optional(),
  major: deviceNumber.optional(),
  minor: deviceNumber.optional(),
  fileMode: z.int().min(0).max(0o7777).optional(),
  permissions: z
    .string()
    .regex(/^(?!.*(.).*\1)[rwm]{1,3}$/, "some of 'r', 'w' and 'm'")
    .optional(),
  uid: numericId.optional(),
  gid: numericId.optional(),
});

/** An option is one word for mount(8): with a comma inside it would be two. */
const mountOption = text.regex(/^[^,\s]+$/, 'one mount option');

const mountSchema = z.strictObject({
  /** A path, or for a file system that is made by the mount the word that stands in the first column of /proc/mounts. */
  hostPath: path.or(z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/)),
  containerPath: path,
  type: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,31}$/)
    .optional(),
  options: z.array(mountOption).max(64).optional(),
});

const hookSchema = z.strictObject({
  hookName: z.enum(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop']),
  path,
  args: z.array(text).max(256).optional(),
  env: z.array(env).max(256).optional(),
  timeout: z.int().min(1).max(3600).optional(),
});

/** Whether no two items have one key. */
function distinctBy<T>(key: (item: T) => string): (items: readonly T[]) => boolean {
  return (items) => new Set(items.map(key)).size === items.length;
}

const editsSchema = z.strictObject({
  env: z
    .array(env)
    .max(MAX_ITEMS)
    .refine(
      distinctBy((given: string) => given.slice(0, given.indexOf('='))),
      'a variable is set twice',
    )
    .optional(),
  deviceNodes: z
    .array(deviceNodeSchema)
    .max(MAX_ITEMS)
    .refine(
      distinctBy((node: { path: string }) => node.path),
      'two device files have one path',
    )
    .optional(),
  mounts: z
    .array(mountSchema)
    .max(MAX_ITEMS)
    .refine(
      distinctBy((mount: { containerPath: string }) => mount.containerPath),
      'two mounts have one place',
    )
    .optional(),
  hooks: z.array(hookSchema).max(64).optional(),
  additionalGids: z.array(z.int().min(1).max(0xffff_fffe)).max(64).optional(),
});

function isEmpty(edits: z.output<typeof editsSchema>): boolean {
  return Object.values(edits).every((items) => items === undefined || items.length === 0);
}

const annotationsSchema = z.record(
  z.string().regex(/^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/),
  text,
);

const deviceSchema = z.strictObject({
  name: z.string().refine(isCdiDevice, 'a name of a CDI device'),
  annotations: annotationsSchema.optional(),
  containerEdits: editsSchema.refine((edits) => !isEmpty(edits), 'a device without edits'),
});

const contentShape = {
  annotations: annotationsSchema.optional(),
  devices: z
    .array(deviceSchema)
    .min(1)
    .max(MAX_ITEMS)
    .refine(
      distinctBy((device: { name: string }) => device.name),
      'two devices have one name',
    ),
  containerEdits: editsSchema.optional(),
};
const contentSchema = z.strictObject(contentShape);

export const cdiSpecSchema = z.strictObject({
  cdiVersion: z.string().regex(/^\d+\.\d+\.\d+$/),
  kind: z.string().refine(isCdiKind, 'vendor/class'),
  ...contentShape,
});

/** What is done to a container. */
export type CdiEdits = z.input<typeof editsSchema>;
export type CdiMount = z.input<typeof mountSchema>;
export type CdiDeviceNode = z.input<typeof deviceNodeSchema>;
/** A name that a runtime is asked for, and what a container gets with it. */
export type CdiDevice = z.input<typeof deviceSchema>;
/** A spec without what its place says: the kind and the version. */
export type CdiContent = z.input<typeof contentSchema>;
export type CdiSpec = z.output<typeof cdiSpecSchema>;

/**
 * The lowest version that has all that is used (CDI 1.1, table of 'Released versions'): a runtime refuses a file of a version
 * that it does not know, whatever it holds.
 */
export function lowestVersion(kind: string, content: CdiContent): string {
  const all = [content.containerEdits ?? {}, ...content.devices.map((device) => device.containerEdits)];
  if (all.some((edits) => (edits.additionalGids?.length ?? 0) > 0)) return '0.7.0';
  const annotated = [content, ...content.devices].some((part) => Object.keys(part.annotations ?? {}).length > 0);
  if (annotated || kind.slice(kind.indexOf('/')).includes('.')) return '0.6.0';
  const fromDigit = content.devices.some((device) => /^\d/.test(device.name));
  if (fromDigit || all.some((edits) => edits.deviceNodes?.some((node) => node.hostPath !== undefined))) return '0.5.0';
  return all.some((edits) => edits.mounts?.some((mount) => mount.type !== undefined)) ? '0.4.0' : '0.3.0';
}

/** A complete, checked spec. Throws INVALID_ARGUMENT that names the field. */
export function cdiSpec(kind: string, content: CdiContent): CdiSpec {
  const parsed = contentSchema.safeParse(content);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = ['CDI spec', ...(issue?.path ?? [])].join('.');
    throw NabuError.of('INVALID_ARGUMENT', { field, reason: issue?.message ?? 'refused' }, { cause: parsed.error });
  }
  return cdiSpecSchema.parse({ cdiVersion: lowestVersion(kind, content), kind, ...parsed.data });
}
