import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { services } from '../../../../proto/gen/nri.js';
import { assertSameFacts, descriptorFacts } from '../../../support/descriptor-facts.ts';
import { DOWNLOAD_TIMEOUT_MS, type GoModule, goModuleFolder } from '../../../support/go-module.ts';
import { skip } from '../../../support/skip.ts';

const NRI: GoModule = {
  path: 'github.com/containerd/nri',
  version: 'v0.11.0',
  sum: 'h1:26mcQwNG58AZn0YkOrlJQ0yxQVmyZooflnVWJTqQrqQ=',
};
const TTRPC: GoModule = {
  path: 'github.com/containerd/ttrpc',
  version: 'v1.2.7',
  sum: 'h1:qIrroQvuOL9HQ1X6KHe2ohc7p+HP/0VE6XPU7elJRqQ=',
};

const ours = (path: string): string => fileURLToPath(new URL(`../../../../proto/${path}`, import.meta.url));

describe('proto/nri', () => {
  let folder = '';

  before(async function () {
    this.timeout(DOWNLOAD_TIMEOUT_MS);
    const found = await goModuleFolder(NRI);
    if (found === undefined) skip(this, 'Go, which downloads the official protocol of NRI');
    folder = join(found, 'pkg/api');
  });

  it('says the same as the official descriptor of NRI 0.11, in every name, number, type and label', async () => {
    const scope = 'nri.pkg.api.v1alpha1';
    const facts = await descriptorFacts(ours('nri/api/v1alpha1/nri.proto'), scope);
    assertSameFacts(facts, await descriptorFacts(join(folder, 'api.proto'), scope));
    assert.equal(facts.size, 316);
  });

  it("is generated into calls with the names of the runtime's own code", async () => {
    const text = await readFile(join(folder, 'api_ttrpc.pb.go'), 'utf8');
    const official = [...text.matchAll(/client\.Call\(ctx, "([\w.]+)", "(\w+)"/g)].map(
      ([, service, method]) => `/${service}/${method}`,
    );
    const { 'ttrpc.Frames': _, ...all } = services;
    assert.deepEqual(
      Object.values(all)
        .flatMap((calls) => Object.values(calls))
        .map(({ path }) => path)
        .sort(),
      official.sort(),
    );
  });
});

describe('proto/ttrpc', () => {
  it('has the fields of the official messages of ttrpc 1.2', async function () {
    this.timeout(DOWNLOAD_TIMEOUT_MS);
    const found = await goModuleFolder(TTRPC);
    if (found === undefined) skip(this, 'Go, which downloads the official protocol of ttrpc');
    const text = await readFile(join(found, 'request.proto'), 'utf8');
    const own = await readFile(ours('ttrpc/ttrpc.proto'), 'utf8');
    const messages = (source: string): Map<string, string[]> =>
      new Map(
        [...source.matchAll(/message (\w+) \{([^}]*)\}/g)].map(([, name = '', body = '']) => [
          name,
          [...body.matchAll(/^\s*([\w ]+ = \d+);/gm)].map(([, field = '']) => field),
        ]),
      );
    const theirs = messages(text);
    assert.deepEqual([...theirs.keys()].sort(), ['KeyValue', 'Request', 'Response', 'StringList']);
    for (const [name, fields] of theirs) assert.deepEqual(messages(own).get(name), fields, name);
    // The official file has a stand-in here; its code has google.rpc.Status.
    assert.deepEqual(messages(own).get('Status'), ['int32 code = 1', 'string message = 2']);
    assert.match(
      await readFile(join(found, 'request.pb.go'), 'utf8'),
      /google\.golang\.org\/genproto\/googleapis\/rpc\/status/,
    );
  });
});
