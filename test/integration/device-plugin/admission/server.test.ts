import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { realClock } from '../../../../common/ports/index.ts';
import { AdmissionProcess, RESOURCES } from '../../../support/admission-process.ts';
import { reviewOf } from '../../../support/admission-review.ts';
import { eventually } from '../../../support/kubelet-double.ts';
import { container, pod } from '../../../support/pod.ts';

const MOUNT = 'nabustore.io/hugetlbfs-2Mi';
const RELOAD_MS = 15_000;

describe('nabu admission', () => {
  let server: AdmissionProcess;
  before(async () => {
    server = await AdmissionProcess.start();
  });
  after(async () => await server.stop());

  const review = async (object: unknown, request = {}): Promise<Record<string, unknown>> => {
    const { status, body } = await server.review(JSON.stringify(reviewOf(object, request)));
    assert.equal(status, 200, body);
    return JSON.parse(body);
  };

  it('answers with a patch that adds the pages', async () => {
    const { response, ...rest } = await review(pod([container('main', { cpu: '1', [MOUNT]: '1' })]));
    assert.deepEqual(rest, { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' });
    const { patch, ...answer } = response as { patch: string };
    assert.deepEqual(answer, { uid: 'f3c1f9a3-6a52-4f19-a1f8-0f6b4a7f5c11', allowed: true, patchType: 'JSONPatch' });
    assert.deepEqual(JSON.parse(Buffer.from(patch, 'base64').toString()), [
      { op: 'add', path: '/spec/containers/0/resources/limits/hugepages-2Mi', value: '64Mi' },
      { op: 'add', path: '/spec/containers/0/resources/requests/hugepages-2Mi', value: '64Mi' },
    ]);
  });

  it('answers with a sentence where it refuses', async () => {
    const { response } = await review(pod([container('main', { cpu: '1', [MOUNT]: '2', 'hugepages-2Mi': '2Mi' })]));
    assert.deepEqual(response, {
      uid: 'f3c1f9a3-6a52-4f19-a1f8-0f6b4a7f5c11',
      allowed: false,
      status: {
        code: 422,
        reason: 'Invalid',
        message:
          'container main asks for 2 of nabustore.io/hugetlbfs-2Mi, which hold 128Mi, and only for hugepages-2Mi: 2Mi. ' +
          'Ask for hugepages-2Mi: 128Mi or more, or leave hugepages-2Mi out and it is added',
      },
    });
  });

  it('answers what an API server has sent, with all that a pod has', async () => {
    const answerTo = async (name: string): Promise<{ allowed: boolean; patch?: string }> => {
      const body = await readFile(new URL(`../../../fixtures/admission/${name}.json`, import.meta.url), 'utf8');
      return JSON.parse((await server.review(body)).body).response;
    };
    const { patch = '' } = await answerTo('one-mount');
    assert.equal(JSON.parse(Buffer.from(patch, 'base64').toString()).length, 2);
    assert.equal((await answerTo('too-few')).allowed, false);
    const { allowed, patch: none } = await answerTo('everything');
    assert.deepEqual([allowed, none], [true, undefined]);
  });

  it('lets through whatever is no new pod', async () => {
    const bad = pod([container('main', { [MOUNT]: '2', 'hugepages-2Mi': '2Mi' })]);
    const others = [
      { operation: 'UPDATE' },
      { operation: 'DELETE', object: null },
      { subResource: 'resize' },
      { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } },
    ];
    for (const request of others) {
      const { response } = await review(bad, request);
      assert.deepEqual(response, { uid: 'f3c1f9a3-6a52-4f19-a1f8-0f6b4a7f5c11', allowed: true });
    }
  });

  it('answers what it cannot use with 4xx and what is wrong with it', async () => {
    const cases: readonly (readonly [string, string, string | undefined, string | undefined, number, RegExp])[] = [
      ['/mutate-pods', 'POST', '', 'application/json', 400, /INVALID_ARGUMENT/],
      ['/mutate-pods', 'POST', '{', 'application/json', 400, /INVALID_ARGUMENT/],
      ['/mutate-pods', 'POST', '[]', 'application/json', 400, /review: /],
      ['/mutate-pods', 'POST', '{}', 'text/plain', 400, /INVALID_ARGUMENT/],
      ['/mutate-pods', 'POST', '{"__proto__": {}}', 'application/json', 400, /INVALID_ARGUMENT/],
      [
        '/mutate-pods',
        'POST',
        JSON.stringify(reviewOf({ spec: {} })),
        'application/json',
        400,
        /review\.request\.object\.spec\.containers/,
      ],
      ['/mutate-pods', 'GET', undefined, undefined, 404, /not found/i],
      ['/', 'GET', undefined, undefined, 404, /not found/i],
      ['/healthz', 'GET', undefined, undefined, 200, /^ok$/m],
    ];
    for (const [path, method, body, type, status, text] of cases) {
      const answer = await server.ask(path, method, body, type);
      assert.equal(answer.status, status, `${method} ${path} ${body}: ${answer.body}`);
      assert.match(answer.body, text);
    }
  });

  it('reads no more than 8 MiB', async () => {
    const { status, body } = await server.announce((8 << 20) + 1);
    assert.equal(status, 413, body);
    assert.match(body, /MESSAGE_TOO_LARGE/);
    const large = pod([container('main', { cpu: '1', [MOUNT]: '1' })]);
    const metadata = { ...large.metadata, annotations: { filler: 'x'.repeat(3 << 20) } };
    const { response } = await review({ ...large, metadata });
    assert.equal(Reflect.get(Object(response), 'allowed'), true);
  });

  it('goes on after clients that speak no TLS, or hang up in the middle', async () => {
    const plain = connectTcp(server.port, '127.0.0.1');
    plain.on('error', () => undefined);
    plain.end('POST /mutate-pods HTTP/1.1\r\n\r\n');
    await once(plain, 'close');
    const half = connect({ host: '127.0.0.1', port: server.port, ca: server.authority.pem });
    await once(half, 'secureConnect');
    half.write(
      'POST /mutate-pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a',
    );
    half.destroy();
    assert.equal((await server.ask('/readyz', 'GET')).status, 200);
  });

  it('shows a new certificate without a restart, and keeps the old one while the new one is of no use', async () => {
    const shown = async (): Promise<string> => {
      const socket = connect({ host: '127.0.0.1', port: server.port, ca: server.authority.pem });
      await once(socket, 'secureConnect');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const first = await shown();
    await server.replaceCertificate({ certificate: 'no certificate', key: 'no key' });
    await eventually('it says so', () => server.log.some((line) => line.includes('is of no use')), RELOAD_MS);
    assert.equal(await shown(), first);
    await server.replaceCertificate();
    await eventually('it is read', () => server.log.some((line) => line.includes('was replaced')), RELOAD_MS);
    assert.notEqual(await shown(), first);
  });

  it('uses new sizes of units without a restart', async () => {
    await writeFile(join(server.folder, 'resources.yaml'), RESOURCES.replace('67108864', '134217728'));
    const wanted = JSON.stringify(reviewOf(pod([container('main', { cpu: '1', [MOUNT]: '1' })])));
    const untilMs = performance.now() + RELOAD_MS;
    for (;;) {
      const { response } = JSON.parse((await server.review(wanted)).body);
      if (Buffer.from(response.patch, 'base64').toString().includes('"128Mi"')) break;
      assert(performance.now() < untilMs, 'the new size is not used');
      await realClock.sleep(20);
    }
  });
});
