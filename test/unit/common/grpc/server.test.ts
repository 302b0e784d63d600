import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { createServer, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  type CallContext,
  GrpcClient,
  GrpcServer,
  type Handlers,
  parseAddress,
  type SocketAddress,
} from '../../../../common/grpc/index.ts';
import { type LogFields, type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { echoService } from './echo-service.ts';

const LIMIT_BYTES = 64 << 10;

describe('GrpcServer and GrpcClient', () => {
  let folder: string;
  let server: GrpcServer;
  let client: GrpcClient;
  let logged: { message: string; fields: LogFields | undefined }[];
  let seen: { context: CallContext }[];

  const recording: Logger = {
    ...silentLogger,
    error: (message, fields) => void logged.push({ message, fields }),
    child: () => recording,
  };

  const handlers: Handlers<typeof echoService> = {
    say: async (request, context) => {
      seen.push({ context });
      if (request.text === 'typed') throw NabuError.of('POLICY_UNKNOWN', { policy: 'ec:9000+1', allowed: ['ec:4+2'] });
      if (request.text === 'foreign') throw Object.assign(new Error('password is hunter2'), { code: 5 });
      if (request.text === 'wait') {
        await new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(context.signal.reason)));
      }
      return request;
    },
    repeat: async function* (request, { signal }) {
      for (let i = 0; request.right === undefined || i < request.right; i++) {
        if (i === 3 && request.text === 'fail') throw NabuError.of('BLOB_NOT_FOUND', { key: 'k' });
        yield { ...request, big: BigInt(i) };
        if (signal.aborted) return;
      }
    },
  };

  async function start(address: SocketAddress): Promise<SocketAddress> {
    server = new GrpcServer({ logger: recording, maxMessageBytes: LIMIT_BYTES });
    server.add(echoService, handlers);
    const bound = await server.listen(address);
    client = new GrpcClient({ address: bound, maxMessageBytes: 1 << 20 });
    return bound;
  }

  beforeEach(async () => {
    logged = [];
    seen = [];
    folder = await mkdtemp(join(tmpdir(), 'nabu-grpc-'));
  });

  afterEach(async () => {
    client?.close();
    await server?.close(100);
    await rm(folder, { recursive: true, force: true });
  });

  const socket = (): SocketAddress => ({ kind: 'unix', path: join(folder, 'a.sock') });
  const rejects = (promise: Promise<unknown>, check: (err: NabuError) => void): Promise<void> =>
    assert.rejects(promise, (err) => {
      assert(NabuError.is(err), `not a NabuError: ${String(err)}`);
      check(err);
      return true;
    });

  it('carries every kind of field there and back, 64-bit integers whole', async () => {
    await start(socket());
    const answer = await client.service(echoService).say(
      {
        text: 'hi',
        big: 2n ** 64n - 1n,
        signed: -(2n ** 63n),
        raw: Uint8Array.of(1, 2),
        labels: { a: 'b' },
        inner: { text: 'in' },
        left: 'l',
      },
      { timeoutMs: 2000 },
    );
    assert.equal(answer.text, 'hi');
    assert.equal(answer.big, 2n ** 64n - 1n);
    assert.equal(answer.signed, -(2n ** 63n));
    assert.deepEqual([...answer.raw], [1, 2]);
    assert.deepEqual({ ...answer.labels }, { a: 'b' });
    assert.equal(answer.inner?.text, 'in');
    assert.equal(answer.inner?.inner, null);
    assert.equal(answer.choice, 'left');
    assert.deepEqual(answer.list, []);
  });

  it('gives the caller our error with its code and fields', async () => {
    await start(socket());
    await rejects(client.service(echoService).say({ text: 'typed' }, { timeoutMs: 2000 }), (err) => {
      assert.equal(err.code, 'POLICY_UNKNOWN');
      assert.deepEqual(err.fields, { policy: 'ec:9000+1', allowed: ['ec:4+2'] });
      assert.match(err.message, /ec:9000\+1/);
    });
  });

  it('hides a foreign error behind a correlation id and logs it', async () => {
    await start(socket());
    await rejects(client.service(echoService).say({ text: 'foreign' }, { timeoutMs: 2000 }), (err) => {
      assert.equal(err.code, 'INTERNAL');
      assert.doesNotMatch(err.message, /hunter2/);
      assert.equal(logged[0]?.fields?.correlationId, err.fields.correlationId);
      assert.match(String(logged[0]?.fields?.error), /hunter2/);
    });
  });

  it('ends a call at its deadline on both sides', async () => {
    await start(socket());
    await rejects(client.service(echoService).say({ text: 'wait' }, { timeoutMs: 50 }), (err) =>
      assert.equal(err.code, 'TIMEOUT'),
    );
    assert.equal(seen.length, 1);
    const signal = seen[0]?.context.signal;
    if (signal?.aborted === false) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    assert.equal(signal?.aborted, true);
  });

  it('tells the handler when its caller goes away', async () => {
    await start(socket());
    const leaving = new AbortController();
    const call = client.service(echoService).say({ text: 'wait' }, { timeoutMs: 4000, signal: leaving.signal });
    const timer = setInterval(() => {
      if (seen.length > 0) leaving.abort();
    }, 5);
    await rejects(call, (err) => assert.equal(err.code, 'CANCELLED'));
    clearInterval(timer);
    const signal = seen[0]?.context.signal;
    if (signal?.aborted === false) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    assert(signal?.aborted);
  });

  it('answers UNIMPLEMENTED to a call without a handler', async () => {
    await start(socket());
    await rejects(client.service(echoService).missing({}, { timeoutMs: 2000 }), (err) =>
      assert.equal(err.code, 'UNIMPLEMENTED'),
    );
  });

  it('refuses a message above the limit and goes on serving', async () => {
    await start(socket());
    const echo = client.service(echoService);
    await rejects(echo.say({ raw: new Uint8Array(LIMIT_BYTES + 1) }, { timeoutMs: 2000 }), (err) =>
      assert.equal(err.code, 'RESOURCE_EXHAUSTED'),
    );
    assert.equal((await echo.say({ text: 'still here' }, { timeoutMs: 2000 })).text, 'still here');
  });

  it('streams in order and passes on the error that ends a stream', async () => {
    await start(socket());
    const echo = client.service(echoService);
    const numbers: bigint[] = [];
    for await (const message of echo.repeat({ right: 100 }, { signal: AbortSignal.timeout(4000) }))
      numbers.push(message.big);
    assert.deepEqual(
      numbers,
      Array.from({ length: 100 }, (_, i) => BigInt(i)),
    );
    const until = async (): Promise<void> => {
      for await (const _ of echo.repeat({ text: 'fail', right: 9 }, { signal: AbortSignal.timeout(4000) }))
        numbers.pop();
    };
    await rejects(until(), (err) => assert.equal(err.code, 'BLOB_NOT_FOUND'));
    assert.equal(numbers.length, 97);
  });

  it('stops a stream without end when its reader leaves', async () => {
    await start(socket());
    let count = 0;
    for await (const _ of client.service(echoService).repeat({}, { signal: AbortSignal.timeout(4000) })) {
      if (++count === 10) break;
    }
    assert.equal(count, 10);
    await server.close(50);
  });

  it('makes sockets that only their owner can open, and removes them when it closes', async () => {
    const address = socket();
    await start(address);
    assert(address.kind === 'unix');
    assert.equal((await stat(address.path)).mode & 0o777, 0o600);
    await server.close(100);
    await assert.rejects(stat(address.path), { code: 'ENOENT' });
  });

  it('replaces the socket of a dead process, and refuses to take over a live one or a file', async () => {
    const path = join(folder, 'a.sock');
    const dead: NetServer = createServer();
    await new Promise<void>((resolve) => dead.listen(path, resolve));
    const other = new GrpcServer({ logger: silentLogger });
    await rejects(other.listen({ kind: 'unix', path }), (err) => assert.equal(err.code, 'ALREADY_EXISTS'));
    // A closed listener unlinks its path: put a dead socket there by listening elsewhere and moving it.
    await new Promise<void>((resolve) => dead.close(() => resolve()));
    const stale = createServer();
    await new Promise<void>((resolve) => stale.listen(join(folder, 'b.sock'), resolve));
    const { rename } = await import('node:fs/promises');
    await rename(join(folder, 'b.sock'), path);
    await new Promise<void>((resolve) => stale.close(() => resolve()));
    await start({ kind: 'unix', path });
    assert.equal((await client.service(echoService).say({ text: 'x' }, { timeoutMs: 2000 })).text, 'x');
    await writeFile(join(folder, 'file'), '');
    await rejects(other.listen({ kind: 'unix', path: join(folder, 'file') }), (err) =>
      assert.equal(err.code, 'FILE_INVALID'),
    );
    await other.close(10);
  });

  it('listens on loopback alone unless told otherwise', async () => {
    const bound = await start(parseAddress('127.0.0.1:0'));
    assert(bound.kind === 'tcp' && bound.port > 0);
    assert.equal((await client.service(echoService).say({ text: 'tcp' }, { timeoutMs: 2000 })).text, 'tcp');
    await rejects(server.listen(parseAddress('0.0.0.0:0')), (err) => {
      assert.equal(err.code, 'INVALID_ARGUMENT');
      assert.match(err.message, /no TLS/);
    });
  });

  it('tells a caller whose server is not there that it is UNAVAILABLE', async () => {
    client = new GrpcClient({ address: { kind: 'unix', path: join(folder, 'nobody.sock') } });
    await rejects(client.service(echoService).say({}, { timeoutMs: 2000 }), (err) =>
      assert.equal(err.code, 'UNAVAILABLE'),
    );
    await rejects(client.waitForReady(50), (err) => assert.equal(err.code, 'UNAVAILABLE'));
  });

  it('survives hostile authorities, garbage and undecodable requests', async () => {
    const bound = await start(parseAddress('127.0.0.1:0'));
    assert(bound.kind === 'tcp');
    const authorities = [
      '',
      '/run/csi.sock',
      '%00%ff',
      'a'.repeat(8000),
      'user@host:99999999',
      '[::1',
      '../../etc',
      '\u00ff',
    ];
    for (const authority of authorities) {
      await hostileCall(bound.port, authority);
      assert.equal((await client.service(echoService).say({ text: authority }, { timeoutMs: 2000 })).text, authority);
    }
    const undecodable = await hostileCall(bound.port, 'localhost', Buffer.from([0, 0, 0, 0, 2, 0x0a, 0xff]));
    assert.equal(undecodable, '3');
  });
});

/** One raw HTTP/2 call; the grpc-status it got, or undefined when the connection was refused. */
function hostileCall(
  port: number,
  authority: string,
  body = Buffer.from([0, 0, 0, 0, 0]),
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const finish = (status?: string): void => {
      session.destroy();
      resolve(status);
    };
    session.on('error', () => finish());
    session.on('close', () => finish());
    try {
      const call = session.request({
        ':method': 'POST',
        ':path': '/test.EchoService/Say',
        ':authority': authority,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      let status: string | undefined;
      const take = (headers: http2.IncomingHttpHeaders): void => {
        const value = headers['grpc-status'];
        if (typeof value === 'string') status = value;
      };
      call.on('response', take);
      call.on('trailers', take);
      call.on('error', () => finish());
      call.on('close', () => finish(status));
      call.resume();
      call.end(body);
    } catch {
      finish();
    }
  });
}
