import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import {
  inClusterAccess,
  type KubeAccess,
  KubeClient,
  kubeconfigAccess,
} from '../../../../device-plugin/kube-api/index.ts';

/** A client and a server that answers as the test says. */
class Served implements AsyncDisposable {
  readonly client: KubeClient;
  readonly access: KubeAccess;
  readonly #close: () => Promise<void>;

  private constructor(client: KubeClient, access: KubeAccess, close: () => Promise<void>) {
    this.client = client;
    this.access = access;
    this.#close = close;
  }

  static async by(listener: RequestListener, prefix = ''): Promise<Served> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const access = { server: `http://127.0.0.1:${port}${prefix}`, tls: {}, headers: async () => ({ 'x-user': 'me' }) };
    const client = new KubeClient(async () => access);
    return new Served(client, access, async () => {
      client.close();
      server.close();
      server.closeAllConnections();
    });
  }

  async call(path = '/x', timeoutMs = 2000): Promise<unknown> {
    using deadline = new Deadline({ clock: realClock, operation: 'the call', timeoutMs });
    return await this.client.call({ method: 'POST', path, query: { a: 'b c' }, body: { q: 'ä' }, deadline });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

const answering =
  (status: number, body: string): RequestListener =>
  (request, response) => {
    request.resume();
    response.writeHead(status).end(body);
  };
const code = (wanted: string) => (err: unknown) => NabuError.is(err) && err.code === wanted;

describe('calls of the API server', () => {
  it('carry method, path, query, body and who asks, below the address that the server has', async () => {
    let seen = '';
    await using served = await Served.by((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => {
        seen = [request.method, request.url, request.headers['x-user'], text].join(' ');
        response.end('{"ok":1}');
      });
    }, '/proxy');
    assert.deepEqual(await served.call('/api/v1/nodes'), { ok: 1 });
    assert.equal(seen, 'POST /proxy/api/v1/nodes?a=b+c me {"q":"ä"}');
  });

  const meanings: readonly (readonly [number, string])[] = [
    [404, 'KUBE_NOT_FOUND'],
    [409, 'RESOURCE_CONFLICT'],
    [401, 'PERMISSION_DENIED'],
    [403, 'PERMISSION_DENIED'],
    [422, 'KUBE_REFUSED'],
    [429, 'UNAVAILABLE'],
    [503, 'UNAVAILABLE'],
    [302, 'KUBE_REFUSED'],
  ];
  for (const [status, meaning] of meanings) {
    it(`mean ${meaning} when they answer ${status}, with the server's own words`, async () => {
      await using served = await Served.by(answering(status, '{"message":"because"}'));
      const err = await served.call().catch((thrown: unknown) => thrown);
      assert.ok(code(meaning)(err), String(err));
      assert.match(String(err), /because/);
    });
  }

  it('are bad when they answer with what is no JSON, and with more than is taken', async () => {
    await using page = await Served.by(answering(200, '<html>'));
    await assert.rejects(page.call(), code('PROTOCOL_ERROR'));
    await using proxy = await Served.by(answering(502, '<html>'));
    await assert.rejects(proxy.call(), code('UNAVAILABLE'));
    await using endless = await Served.by((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(1 << 20)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(endless.call('/x', 10_000), code('MESSAGE_TOO_LARGE'));
  });

  it('end at their deadline, before the answer and in the middle of it', async () => {
    await using silent = await Served.by(() => undefined);
    await assert.rejects(silent.call('/x', 50), code('TIMEOUT'));
    await using half = await Served.by((_request, response) => response.write('{"a":'));
    await assert.rejects(half.call('/x', 50), code('TIMEOUT'));
  });

  it('say that nobody listens, and that the connection was cut', async () => {
    const access = { server: 'http://127.0.0.1:1', tls: {}, headers: async () => ({}) };
    const nobody = new KubeClient(async () => access);
    using deadline = new Deadline({ clock: realClock, operation: 'the call', timeoutMs: 2000 });
    await assert.rejects(nobody.call({ method: 'GET', path: '/x', deadline }), code('UNAVAILABLE'));
    await using cut = await Served.by((request) => request.destroy());
    await assert.rejects(cut.call(), code('UNAVAILABLE'));
  });
});

describe('a client of the API server that does not know yet who asks', () => {
  it('fails with the reason, and works as soon as it is known', async () => {
    await using served = await Served.by(answering(200, '{"ok":1}'));
    let isKnown = false;
    const client = new KubeClient(async () => {
      if (!isKnown) throw NabuError.of('CONFIG_INVALID', { source: 'kubeconfig', reason: 'none yet' });
      return served.access;
    });
    using deadline = new Deadline({ clock: realClock, operation: 'the call', timeoutMs: 2000 });
    await assert.rejects(client.call({ method: 'GET', path: '/x', deadline }), code('CONFIG_INVALID'));
    isKnown = true;
    assert.deepEqual(await client.call({ method: 'GET', path: '/x', deadline }), { ok: 1 });
    client.close();
  });
});

describe('first calls to the API server that come at once', () => {
  it('ask once who asks, and go over connections that one close ends', async () => {
    const closed: Promise<unknown>[] = [];
    await using served = await Served.by((request, response) => {
      closed.push(once(request.socket, 'close'));
      response.end('{"ok":1}');
    });
    let asked = 0;
    const client = new KubeClient(async () => {
      asked++;
      return served.access;
    });
    using deadline = new Deadline({ clock: realClock, operation: 'the calls', timeoutMs: 2000 });
    const calls = ['/a', '/b', '/c'].map((path) => client.call({ method: 'GET', path, deadline }));
    assert.deepEqual(await Promise.all(calls), [{ ok: 1 }, { ok: 1 }, { ok: 1 }]);
    assert.equal(asked, 1);
    client.close();
    await Promise.all(closed);
  });
});

describe('watches of the API server', () => {
  const lines =
    (...texts: readonly string[]): RequestListener =>
    (_request, response) => {
      for (const text of texts) response.write(text);
      response.end();
    };

  async function collected(served: Served, signal = AbortSignal.timeout(2000)): Promise<string[]> {
    const types: string[] = [];
    for await (const { type, object } of served.client.watch('/x', {}, signal)) types.push(`${type} ${String(object)}`);
    return types;
  }

  it('give one event for each line, however it arrives, and end when the server ends them', async () => {
    await using served = await Served.by(lines('{"type":"ADDED","obj', 'ect":1}\n{"type":"BOOKMARK","object":2}\n\n'));
    assert.deepEqual(await collected(served), ['ADDED 1', 'BOOKMARK 2']);
  });

  it('fail when the version to begin from is too old, and when they are refused', async () => {
    await using old = await Served.by(lines('{"type":"ERROR","object":{"code":410,"message":"too old"}}\n'));
    await assert.rejects(collected(old), /too old/);
    await using refused = await Served.by(answering(403, '{"message":"no"}'));
    await assert.rejects(collected(refused), code('PERMISSION_DENIED'));
  });

  it('fail at a line that never ends', async () => {
    await using served = await Served.by((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(1 << 20)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(collected(served, AbortSignal.timeout(10_000)), code('PROTOCOL_ERROR'));
  });

  it('end at once when they are given up', async () => {
    await using served = await Served.by((_request, response) => response.flushHeaders());
    const stop = new AbortController();
    const watching = collected(served, stop.signal);
    stop.abort(NabuError.of('CANCELLED', { operation: 'the watch' }));
    await assert.rejects(watching, code('CANCELLED'));
  });
});

describe('who asks the API server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-access-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

  it('is in a pod its service account, whose token is read again as it is replaced', async () => {
    writeFileSync(join(folder, 'ca.crt'), 'authority');
    writeFileSync(join(folder, 'token'), 'first\n');
    const clock = new SimClock();
    const access = await inClusterAccess({ clock, env, folder });
    assert.equal(access.server, 'https://10.96.0.1:443');
    assert.deepEqual(await access.headers(), { authorization: 'Bearer first' });
    writeFileSync(join(folder, 'token'), 'second\n');
    assert.deepEqual(await access.headers(), { authorization: 'Bearer first' });
    await clock.advance(60_000);
    assert.deepEqual(await access.headers(), { authorization: 'Bearer second' });
  });

  it('is named in brackets where the address is one of IPv6', async () => {
    const access = await inClusterAccess({
      clock: realClock,
      env: { ...env, KUBERNETES_SERVICE_HOST: 'fd00::1' },
      folder,
    });
    assert.equal(access.server, 'https://[fd00::1]:443');
  });

  it('is nobody outside of a pod, in a sentence', async () => {
    await assert.rejects(inClusterAccess({ clock: realClock, env: {} }), /this is no pod .*: name a kubeconfig/);
    await assert.rejects(kubeconfigAccess(join(folder, 'none')), /it is no usable kubeconfig/);
  });
});
