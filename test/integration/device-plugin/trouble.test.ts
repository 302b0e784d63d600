import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { NabuError } from '../../../common/errors/index.ts';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const BOUND_MS = 10_000;
const RDMA = 'nabustore.io/rdma';
const CUFILE = 'nabustore.io/cufile';
const PAGES = 'nabustore.io/hugetlbfs-2Mi';
const INFINIBAND = { kind: 'rdma', slots: 2, select: { linkLayers: ['InfiniBand'] } };
const PLACES = { kind: 'cufile', version: '1.17', slots: 4 };
const MOUNTS = { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 16 * 2 ** 30 };
const FIRST = '0000:1a:00.0-0';
/** No configuration, each in its own way. */
const BAD_TEXTS = ['{', '\0', '['.repeat(50_000), 'version: v2', '', '- a\n'.repeat(10_000), 'a: &a [*a]', '\u00ff'];

describe('nabu device-plugin on a node where things go wrong', function () {
  this.timeout(120_000);
  let node: PluginNode;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    node = new PluginNode(MACHINES['h200-8gpu']);
    await node.kubelet.start();
  });

  afterEach(async () => {
    await node.close();
  });

  const configure = (...resources: unknown[]): void => node.configure({ health: { recoverMs: 0 }, resources });
  const allocate = (resource: string, ...ids: string[]) =>
    node.kubelet.plugin(resource).allocate({ containerRequests: [{ devicesIds: ids }] }, { timeoutMs: BOUND_MS });
  const prepare = (resource: string, ...ids: string[]) =>
    node.kubelet.plugin(resource).preStartContainer({ devicesIds: ids }, { timeoutMs: BOUND_MS });
  const registrations = (resource: string): number =>
    node.kubelet.events.filter((event) => event.kind === 'register' && event.request.resourceName === resource).length;

  async function offer(...resources: unknown[]): Promise<void> {
    configure(...resources);
    node.start();
    await node.logged('running', START_MS);
  }

  const offered = (resource: string): Promise<void> =>
    eventually(
      `${resource} is offered`,
      () => node.kubelet.advertised(resource)?.some((id) => !id.startsWith('!')) === true,
      BOUND_MS,
    );

  async function refusal(call: Promise<unknown>): Promise<string> {
    try {
      await call;
    } catch (err) {
      assert.ok(NabuError.is(err), `refused: ${String(err)}`);
      return `${err.code}: ${err.message}`;
    }
    return assert.fail('it was not refused');
  }

  it('answers every Allocate while its file flaps between good, bad and gone', async () => {
    await offer(INFINIBAND, PLACES);
    await offered(RDMA);
    await offered(CUFILE);
    const stop = new AbortController();
    let calls = 0;
    const caller = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        await allocate(RDMA, FIRST);
        await allocate(CUFILE, 'numa0-1');
        calls += 2;
      }
    };
    const callers = [caller(), caller()];
    const flaps = BAD_TEXTS.flatMap((text, at) => [
      () => configure(INFINIBAND, PLACES, { kind: 'rdma', name: `r${at}` }),
      () => node.configure(text),
      () => rmSync(node.configPath),
    ]);
    try {
      for (const flap of flaps) {
        const lines = node.log.length;
        flap();
        const isRead = (): boolean => node.log.slice(lines).some(({ component }) => component === 'config');
        await eventually('the file is read', isRead, BOUND_MS);
      }
    } finally {
      stop.abort();
      await Promise.all(callers);
    }
    assert.ok(calls >= flaps.length, `${calls} calls`);
    assert.deepEqual([registrations(RDMA), registrations(CUFILE)], [1, 1]);
  });

  it('says what keeps a cufile.json from being written, and writes it when that has passed', async () => {
    const state = join(node.root, 'state');
    mkdirSync(state);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', state]);
    try {
      await offer(PLACES);
      await offered(CUFILE);
      await allocate(CUFILE, 'numa0-0');
      const ballast = join(state, 'ballast');
      assert.throws(() => writeFileSync(ballast, Buffer.alloc(1 << 20)), /ENOSPC/);
      const isFull = /^PATH_UNUSABLE: .*ENOSPC: no space left on device/;
      assert.match(await refusal(prepare(CUFILE, 'numa0-0')), isFull);
      assert.match(await refusal(allocate(CUFILE, 'numa0-1')), isFull);
      rmSync(ballast);
      await allocate(CUFILE, 'numa0-1');
      await prepare(CUFILE, 'numa0-0');
      assert.ok(existsSync(join(state, 'cufile/cufile/numa0-0/cufile.json')));
      execFileSync('mount', ['-o', 'remount,ro', state]);
      assert.match(await refusal(allocate(CUFILE, 'numa0-2')), /^PATH_UNUSABLE: .*numa0-2 cannot be used: E[A-Z]+: /);
    } finally {
      await node.stop('SIGKILL');
      execFileSync('umount', ['-l', state]);
    }
  });

  it('makes CDI specs again in a folder that vanished, and says what is in the way of one', async () => {
    await offer(MOUNTS);
    await offered(PAGES);
    const cdi = join(node.root, 'cdi');
    await allocate(PAGES, '2Mi-numa0-0');
    rmSync(cdi, { recursive: true });
    await prepare(PAGES, '2Mi-numa0-0');
    rmSync(cdi, { recursive: true });
    for (const block of [() => writeFileSync(cdi, 'a file'), () => symlinkSync(cdi, cdi)]) {
      block();
      assert.match(await refusal(allocate(PAGES, '2Mi-numa0-0')), /^PATH_UNUSABLE: .*\/cdi cannot be used: E[A-Z]+: /);
      rmSync(cdi);
    }
    await allocate(PAGES, '2Mi-numa0-0');
    assert.ok(existsSync(cdi));
  });

  it('starts containers though the pod resources API answers garbage, or takes calls and says nothing', async () => {
    await offer(PLACES);
    await offered(CUFILE);
    mkdirSync(join(node.kubeletDir, 'pod-resources'), { recursive: true });
    const socket = join(node.kubeletDir, 'pod-resources', 'kubelet.sock');
    for (const [at, greeting] of ['HTTP/1.1 400 Bad Request\r\n\r\n', '\0'.repeat(100_000), ''].entries()) {
      const peers = new Set<Socket>();
      const server = createServer((peer) => {
        peers.add(peer.on('error', () => undefined));
        if (greeting !== '') peer.end(greeting);
      });
      await new Promise<void>((resolve) => server.listen(socket, resolve));
      const id = `numa0-${at}`;
      try {
        await allocate(CUFILE, id);
        await prepare(CUFILE, id);
        const notes = readFileSync(join(node.root, 'state/cufile/cufile', id, 'NOTES'), 'utf8');
        assert.match(notes, /the pod resources API could not be asked/);
      } finally {
        for (const peer of peers) peer.destroy();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      }
    }
  });

  it('refuses what no kubelet should ask, with a sentence and no harm', async () => {
    await offer(INFINIBAND, PLACES, MOUNTS);
    const wellFormed = ['../../etc/passwd', 'numa0-0/../x', '0000:1a:00.0-9', '__proto__'].map((id) => [id]);
    const many = Array.from({ length: 50_000 }, (_, at) => `unit-${at}`);
    const malformed = [[], [''], ['a b'], ['\n'], ['x'.repeat(64)], [FIRST, FIRST]];
    for (const resource of [RDMA, CUFILE, PAGES]) {
      await offered(resource);
      for (const ask of [allocate, prepare]) {
        for (const ids of malformed) assert.match(await refusal(ask(resource, ...ids)), /^INVALID_ARGUMENT: /);
        for (const ids of [...wellFormed, many]) {
          assert.match(await refusal(ask(resource, ...ids)), /^DEVICE_NOT_FOUND: nabustore.io\/\S+ has no device /);
        }
      }
    }
    // A kubelet that lost what it asked before starts a container without an Allocate that we know of.
    await prepare(RDMA, FIRST);
    await prepare(CUFILE, 'numa0-0');
    await prepare(PAGES, '2Mi-numa0-0');
    assert.deepEqual(
      node.log.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('leaves the kubelet to the process that has it, and takes over when that is killed', async () => {
    await offer(INFINIBAND, MOUNTS);
    await offered(RDMA);
    const first = node.pid ?? 0;
    try {
      node.start();
      await node.logged('not registered with the kubelet', START_MS);
      await allocate(RDMA, FIRST);
      await allocate(PAGES, '2Mi-numa0-0');
      assert.equal(registrations(RDMA), 1);
    } finally {
      process.kill(first, 'SIGKILL');
    }
    await eventually('the second registers', () => registrations(RDMA) === 2 && registrations(PAGES) === 2, BOUND_MS);
    await offered(RDMA);
    await allocate(RDMA, FIRST);
  });
});
