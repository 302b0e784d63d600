import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import protobuf from 'protobufjs';
import { skip } from '../../support/skip.ts';

const run = promisify(execFile);
const OFFICIAL = 'github.com/container-storage-interface/spec@v1.12.0';
const OURS = fileURLToPath(new URL('../../../proto/csi/v1/csi.proto', import.meta.url));
/** protobufjs brings google/protobuf/*.proto along. */
const LIBRARY = fileURLToPath(new URL('../../../node_modules/protobufjs/', import.meta.url));
const DOWNLOAD_TIMEOUT_MS = 120_000;

/** The official file, through the Go module cache; undefined where Go is not installed. */
async function officialProto(): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'nabu-csi-spec-'));
  try {
    const { stdout } = await run('go', ['mod', 'download', '-json', OFFICIAL], { cwd: folder });
    const { Dir } = JSON.parse(stdout) as { Dir: string };
    return join(Dir, 'csi.proto');
  } catch (err) {
    if (Reflect.get(Object(err), 'code') === 'ENOENT') return undefined;
    throw err;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Everything that reaches the wire or steers it: each name with its number, type, label and options; no comments, no order. */
async function facts(path: string): Promise<Map<string, string>> {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.startsWith('google/') ? join(LIBRARY, target) : target);
  await root.load(path, { keepCase: true });
  root.resolveAll();
  const found = new Map<string, string>();
  const note = (object: protobuf.ReflectionObject, ...fact: unknown[]): void => {
    found.set(object.fullName, JSON.stringify([object.constructor.name, ...fact, sorted(object.options)]));
  };
  const visit = (object: protobuf.ReflectionObject): void => {
    if (object instanceof protobuf.Field) {
      const type = object.resolvedType?.fullName ?? object.type;
      note(
        object,
        object.id,
        type,
        object.repeated,
        object.partOf?.name,
        object instanceof protobuf.MapField && object.keyType,
      );
    } else if (object instanceof protobuf.Enum) note(object, sorted(object.values), sortedDeep(object.valuesOptions));
    else if (object instanceof protobuf.Method) {
      note(
        object,
        object.requestType,
        object.responseType,
        object.requestStream === true,
        object.responseStream === true,
      );
    } else note(object);
    if (object instanceof protobuf.Type) for (const part of [...object.fieldsArray, ...object.oneofsArray]) visit(part);
    if (object instanceof protobuf.Service) object.methodsArray.forEach(visit);
    if (object instanceof protobuf.Namespace) object.nestedArray.forEach(visit);
  };
  const csi = root.lookup('csi.v1');
  assert.ok(csi instanceof protobuf.Namespace, `${path} has no package csi.v1`);
  csi.nestedArray.forEach(visit);
  return found;
}

function sorted(record: object | undefined): [string, unknown][] {
  return Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}

function sortedDeep(record: Record<string, object | undefined> | undefined): unknown[] {
  return sorted(record).map(([name, options]) => [name, sorted(options as object)]);
}

describe('proto/csi/v1/csi.proto', () => {
  it('says the same as the official CSI 1.12.0 descriptor, in every name, number, type, label and option', async function () {
    this.timeout(DOWNLOAD_TIMEOUT_MS);
    const official = await officialProto();
    if (official === undefined) skip(this, 'Go, which downloads the official csi.proto');
    const [ours, theirs] = [await facts(OURS), await facts(official)];
    assert.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort());
    for (const [name, fact] of theirs) assert.equal(ours.get(name), fact, name);
    assert.ok(ours.size >= 348, `only ${ours.size} facts were compared`);
  });
});
