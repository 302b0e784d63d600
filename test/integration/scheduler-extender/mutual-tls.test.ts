import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { SimClock } from '../../../common/ports/index.ts';
import { Authority, type Identity } from '../../kube/cluster/certificates.ts';
import { TestCluster } from '../../support/extender/objects.ts';
import { Served, type ServedOptions } from '../../support/extender/served.ts';

type Seen = { readonly status: number; readonly text: string; readonly serial: string };

function ask(port: number, tls: RequestOptions, path = '/readyz', body?: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const asked = request(
      { host: '127.0.0.1', port, path, method: body === undefined ? 'GET' : 'POST', headers, agent: false, ...tls },
      (response) => {
        const serial = (response.socket as TLSSocket).getPeerCertificate().serialNumber;
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text, serial }));
      },
    );
    asked.once('error', reject);
    asked.end(body);
  });
}

describe('the extender behind mutual TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-extender-tls-'));
  const files = {
    certFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
    clientCaFile: join(folder, 'ca.crt'),
  };
  let authority: Authority;
  let served: Served | undefined;

  const writeServer = async (): Promise<Identity> => {
    const identity = await authority.issue({ commonName: 'extender', addresses: ['127.0.0.1'] });
    writeFileSync(files.certFile, identity.certificate);
    writeFileSync(files.keyFile, identity.key);
    return identity;
  };
  const client = async (commonName: string, from: Authority = authority): Promise<RequestOptions> => {
    const { certificate, key } = await from.issue({ commonName });
    return { ca: authority.pem, cert: certificate, key };
  };
  const start = async (options: ServedOptions = {}): Promise<number> => {
    served = await Served.start(new TestCluster().node('n1').index, { tls: files, ...options });
    return served.port;
  };

  before(async () => {
    authority = await Authority.make();
    writeFileSync(files.clientCaFile, authority.pem);
    await writeServer();
  });
  afterEach(async () => {
    await served?.close();
    served = undefined;
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('answers clients whose certificate its authority has signed, and no others', async () => {
    const port = await start();
    assert.equal((await ask(port, await client('system:kube-scheduler'))).status, 200);
    await assert.rejects(ask(port, { ca: authority.pem }));
    await assert.rejects(ask(port, await client('system:kube-scheduler', await Authority.make())));
  });

  it('lets only those ask for decisions whose common name is on the list, where there is one', async () => {
    const port = await start({ clientNames: ['system:kube-scheduler'] });
    const body = JSON.stringify({ Pod: { metadata: { name: 'p', namespace: 'ns', uid: 'u' } }, NodeNames: ['n1'] });
    assert.equal((await ask(port, await client('system:kube-scheduler'), '/filter', body)).status, 200);
    const refused = await ask(port, await client('somebody'), '/filter', body);
    assert.equal(refused.status, 403);
    assert.equal(JSON.parse(refused.text).code, 'PERMISSION_DENIED');
  });

  it('takes a new certificate without a restart, and keeps the old one while the files are half replaced', async () => {
    const clock = new SimClock();
    const port = await start({ clock });
    const tls = await client('x');
    const first = (await ask(port, tls)).serial;
    writeFileSync(files.certFile, 'half of a');
    await clock.advance(31_000);
    assert.equal((await ask(port, tls)).serial, first);
    await writeServer();
    let serial = first;
    // Reading the files takes real time that the clock knows nothing of.
    while (serial === first) {
      await clock.advance(31_000);
      serial = (await ask(port, tls)).serial;
    }
    assert.notEqual(serial, first);
  });

  it('does not start without its files, and names the one that is missing', async () => {
    await assert.rejects(start({ tls: { ...files, keyFile: join(folder, 'none') } }), {
      code: 'FILE_INVALID',
      message: /none cannot be used/,
    });
  });
});
