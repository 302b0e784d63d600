import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

/** protobufjs brings google/protobuf/*.proto along. */
const LIBRARY = fileURLToPath(new URL('../../node_modules/protobufjs/', import.meta.url));

/** A .proto file with everything it imports, names as they are written, types resolved. */
export async function loadProto(path: string): Promise<protobuf.Root> {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.startsWith('google/') ? join(LIBRARY, target) : target);
  await root.load(path, { keepCase: true });
  root.resolveAll();
  return root;
}

/**
 * What a package of a .proto file says, by full name: everything that reaches the wire or steers it, that is each name
 * with its number, type, label and options; no comments, no order.
 */
export async function descriptorFacts(path: string, packageName: string): Promise<Map<string, string>> {
  const scope = (await loadProto(path)).lookup(packageName);
  assert.ok(scope instanceof protobuf.Namespace, `${path} has no package ${packageName}`);
  const found = new Map<string, string>();
  const visit = (object: protobuf.ReflectionObject): void => {
    const fact = [object.constructor.name, ...factsOf(object), sorted(object.options)];
    found.set(object.fullName, JSON.stringify(fact));
    if (object instanceof protobuf.Type) for (const part of [...object.fieldsArray, ...object.oneofsArray]) visit(part);
    if (object instanceof protobuf.Service) object.methodsArray.forEach(visit);
    if (object instanceof protobuf.Namespace) object.nestedArray.forEach(visit);
  };
  scope.nestedArray.forEach(visit);
  return found;
}

function factsOf(object: protobuf.ReflectionObject): unknown[] {
  if (object instanceof protobuf.Field) {
    const type = object.resolvedType?.fullName ?? object.type;
    const label = [object.repeated, object.required, object.packed, object.hasPresence];
    return [object.id, type, label, object.partOf?.name, object instanceof protobuf.MapField && object.keyType];
  }
  if (object instanceof protobuf.Enum) return [sorted(object.values), sortedDeep(object.valuesOptions)];
  if (object instanceof protobuf.Method) {
    const { resolvedRequestType: request, resolvedResponseType: response } = object;
    return [request?.fullName, response?.fullName, object.requestStream === true, object.responseStream === true];
  }
  return [];
}

function sorted(record: object | undefined): [string, unknown][] {
  return Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}

function sortedDeep(record: Record<string, object | undefined> | undefined): unknown[] {
  return sorted(record).map(([name, options]) => [name, sorted(options as object)]);
}

/** Fails on the first name that only one of the two has, or of which they say different things. */
export function assertSameFacts(ours: ReadonlyMap<string, string>, official: ReadonlyMap<string, string>): void {
  assert.deepEqual([...ours.keys()].sort(), [...official.keys()].sort());
  for (const [name, fact] of official) assert.equal(ours.get(name), fact, name);
}
