import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { decodeMessage, encodeMessage, type ServiceSpec } from '../../../common/grpc/index.ts';
import { services } from '../../../proto/gen/services.js';
import { assertSameFacts, descriptorFacts, loadProto } from '../../support/descriptor-facts.ts';
import { DOWNLOAD_TIMEOUT_MS, goModuleFolder } from '../../support/go-module.ts';
import { skip } from '../../support/skip.ts';

const OFFICIAL = {
  path: 'k8s.io/kubelet',
  version: 'v0.36.3',
  sum: 'h1:dRzEnhHk35Opy6wjWR4YBcN5RI9lB2npUY37TghFuPU=',
};

/** Ours below proto/, theirs below pkg/apis/, and how many names there are to compare. */
const CONTRACTS = [
  { ours: 'deviceplugin/v1beta1/deviceplugin.proto', theirs: 'deviceplugin/v1beta1', scope: 'v1beta1', names: 62 },
  {
    ours: 'pluginregistration/v1/pluginregistration.proto',
    theirs: 'pluginregistration/v1',
    scope: 'pluginregistration',
    names: 13,
  },
  { ours: 'podresources/v1/podresources.proto', theirs: 'podresources/v1', scope: 'v1', names: 52 },
  { ours: 'dra/v1/dra.proto', theirs: 'dra/v1', scope: 'k8s.io.kubelet.pkg.apis.dra.v1', names: 27 },
  { ours: 'dra/health/v1alpha1/health.proto', theirs: 'dra-health/v1alpha1', scope: 'v1alpha1', names: 15 },
] as const;

/** A value of each type in use that is not its default and takes the longest way through the codec. */
const SAMPLES: Readonly<Record<string, unknown>> = {
  string: 'nabu \u{1F4DC}',
  bool: true,
  int32: -(2 ** 31),
  int64: -(2n ** 53n) - 1n,
  uint64: 2n ** 64n - 1n,
};

/** A message of this type with every field set, down to the innermost. */
function filled(type: protobuf.Type): Record<string, unknown> {
  return Object.fromEntries(
    type.fieldsArray.map((field) => {
      const value = sampleOf(field);
      if (field instanceof protobuf.MapField) return [field.name, { key: value }];
      return [field.name, field.repeated ? [value, value] : value];
    }),
  );
}

function sampleOf(field: protobuf.Field): unknown {
  if (field.resolvedType instanceof protobuf.Type) return filled(field.resolvedType);
  if (field.resolvedType instanceof protobuf.Enum) return Math.max(...Object.values(field.resolvedType.values));
  assert.ok(field.type in SAMPLES, `${field.fullName} has type ${field.type}, which has no sample`);
  return SAMPLES[field.type];
}

function methodsOf(scope: protobuf.Namespace): protobuf.Method[] {
  return scope.nestedArray.flatMap((object) => (object instanceof protobuf.Service ? object.methodsArray : []));
}

function generatedCalls(scope: string): ServiceSpec[string][] {
  const all: Readonly<Record<string, ServiceSpec>> = services;
  return Object.entries(all)
    .filter(([name]) => name.replace(/\.\w+$/, '') === scope)
    .flatMap(([, calls]) => Object.values(calls));
}

const kindOf = (method: protobuf.Method): string => (method.responseStream === true ? 'server-stream' : 'unary');

for (const { ours, theirs, scope, names } of CONTRACTS) {
  describe(`proto/${ours}`, () => {
    let folder = '';

    before(async function () {
      this.timeout(DOWNLOAD_TIMEOUT_MS);
      const found = await goModuleFolder(OFFICIAL);
      if (found === undefined) skip(this, `Go, which downloads the official protocols of the kubelet (${theirs})`);
      folder = join(found, 'pkg/apis', theirs);
    });

    it('says the same as the official descriptor of Kubernetes 1.36, in every name, number, type and label', async () => {
      const path = fileURLToPath(new URL(`../../../proto/${ours}`, import.meta.url));
      const facts = await descriptorFacts(path, scope);
      assertSameFacts(facts, await descriptorFacts(join(folder, 'api.proto'), scope));
      assert.equal(facts.size, names);
    });

    it("is generated into calls with the paths and kinds of the kubelet's own code", async () => {
      const text = await readFile(join(folder, 'api_grpc.pb.go'), 'utf8');
      const paths = [...text.matchAll(/_FullMethodName\s*=\s*"([^"]+)"/g)].map(([, path = '']) => path);
      const calls = generatedCalls(scope);
      assert.deepEqual(calls.map(({ path }) => path).sort(), paths.sort());
      const official = (await loadProto(join(folder, 'api.proto'))).lookup(scope);
      assert.ok(official instanceof protobuf.Namespace);
      const kinds = methodsOf(official).map((method) => `${method.name} ${kindOf(method)}`);
      assert.deepEqual(calls.map(({ path, kind }) => `${path.split('/')[2]} ${kind}`).sort(), kinds.sort());
    });

    it('is generated into messages that read and write the bytes of the official ones', async () => {
      const official = (await loadProto(join(folder, 'api.proto'))).lookup(scope);
      assert.ok(official instanceof protobuf.Namespace);
      for (const method of methodsOf(official)) {
        const call = generatedCalls(scope).find(
          ({ path }) => path === `/${scope}.${method.parent?.name}/${method.name}`,
        );
        assert.ok(call, method.fullName);
        for (const [codec, type] of [
          [call.request, method.resolvedRequestType],
          [call.response, method.resolvedResponseType],
        ] as const) {
          assert.ok(type, method.fullName);
          const bytes = type.encode(type.fromObject(filled(type))).finish();
          assert.deepEqual(encodeMessage(codec, decodeMessage(codec, bytes)), Buffer.from(bytes), type.fullName);
        }
      }
    });
  });
}
