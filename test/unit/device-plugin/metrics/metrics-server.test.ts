import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { silentLogger } from '../../../../common/logging/index.ts';
import { MetricsServer } from '../../../../device-plugin/metrics/index.ts';

type Answer = { readonly status: number | undefined; readonly body: string };

describe('the server of the figures', () => {
  let server: MetricsServer;
  let port: number;
  let unready: string | undefined;
  let scrapes: number;
  let exposition: () => Promise<string>;

  beforeEach(async () => {
    unready = undefined;
    scrapes = 0;
    exposition = async () => 'a 1\n';
    const metrics = {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      exposition: (): Promise<string> => {
        scrapes++;
        return exposition();
      },
    };
    server = new MetricsServer({ metrics, unready: () => unready, logger: silentLogger });
    const bound = await server.start({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    assert(bound.kind === 'tcp');
    port = bound.port;
  });

  afterEach(async () => await server.close());

  async function ask(path: string, method = 'GET', body?: string): Promise<Answer> {
    const headers = body === undefined ? {} : { 'content-length': body.length };
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
    sent.end(body);
    const [response] = await once(sent, 'response');
    let text = '';
    for await (const chunk of response) text += chunk;
    return { status: response.statusCode, body: text };
  }

  it('gives them, and says whether the process lives and is of use', async () => {
    assert.deepEqual(await ask('/metrics'), { status: 200, body: 'a 1\n' });
    assert.deepEqual(await ask('/metrics?name=a'), { status: 200, body: 'a 1\n' });
    assert.deepEqual(await ask('/healthz'), { status: 200, body: 'ok\n' });
    assert.deepEqual(await ask('/readyz'), { status: 200, body: 'ok\n' });
    unready = 'nabustore.io/rdma is not registered';
    assert.deepEqual(await ask('/readyz'), { status: 503, body: 'nabustore.io/rdma is not registered\n' });
    assert.deepEqual(await ask('/metrics', 'HEAD'), { status: 200, body: '' });
  });

  it('refuses what it does not know, and reads no body', async () => {
    assert.equal((await ask('/')).status, 404);
    assert.equal((await ask('/metrics', 'POST', 'x'.repeat(1000))).status, 405);
    assert.equal((await ask('/metrics', 'GET', 'x')).status, 200);
    assert.equal((await ask(`/${'x'.repeat(10_000)}`)).status, 431);
  });

  it('looks once for all who ask at one time', async () => {
    const late = Promise.withResolvers<string>();
    exposition = () => late.promise;
    const answers = [ask('/metrics'), ask('/metrics'), ask('/metrics')];
    await ask('/healthz'); // came after them, over a connection of its own
    late.resolve('b 2\n');
    for (const answer of await Promise.all(answers)) assert.deepEqual(answer, { status: 200, body: 'b 2\n' });
    assert(scrapes <= 3);
    const before = scrapes;
    await ask('/metrics');
    assert.equal(scrapes, before + 1, 'nothing is kept');
  });

  it('hides what went wrong from whoever asks, and goes on', async () => {
    exposition = async () => {
      throw new RangeError('secret detail');
    };
    const { status, body } = await ask('/metrics');
    assert.equal(status, 500);
    assert.match(body, /^internal error, the log has the detail under [0-9a-f-]+\n$/);
    exposition = async () => 'c 3\n';
    assert.deepEqual(await ask('/metrics'), { status: 200, body: 'c 3\n' });
  });

  it('says why it cannot listen', async () => {
    const metrics = { contentType: '', exposition: async () => '' };
    const other = new MetricsServer({ metrics, unready: () => undefined, logger: silentLogger });
    await assert.rejects(other.start({ kind: 'tcp', host: '127.0.0.1', port }), { code: 'UNAVAILABLE' });
    await other.close();
  });

  it('ends with connections open', async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    await server.close();
    await closed;
  });

  it('answers garbage with 400', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('\x16\x03\x01\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.match(text, /^HTTP\/1\.1 400 /);
  });
});
