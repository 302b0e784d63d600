import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEVICE_PLUGIN_PRIVILEGES } from '../../../device-plugin/privileges.ts';
import { CDI, JailedNode, type JailedNodeOptions, LABELS, missingForJail, STATE } from '../../support/jailed-node.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
/** What is not there by then does not come: with all that it needs, the plugin takes a tenth of it. */
const LACK_MS = 4000;
const CALL = { timeoutMs: 30_000 };
const RDMA = 'nabustore.io/rdma';
const CUFILE = 'nabustore.io/cufile';
const HUGETLBFS = 'nabustore.io/hugetlbfs-2Mi';
const HCA = '0000:1a:00.0';
/** Of that HCA; an address for documentation (RFC 5737). */
const INTERFACES = { ibp26s0: '192.0.2.26' };
const CONFIG = {
  health: { recoverMs: 0 },
  resources: [
    { kind: 'rdma', select: { linkLayers: ['InfiniBand'] } },
    { kind: 'cufile', version: '1.16', slots: 1 },
    { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 67_108_864 },
  ],
};
/** Without claims, which need an API server. */
const NEEDED = DEVICE_PLUGIN_PRIVILEGES.hostPaths.filter(({ neededFor }) =>
  neededFor.some((need) => need !== 'claims'),
);

type Lack = Pick<Partial<JailedNodeOptions>, 'paths' | 'user' | 'hostNetwork' | 'sysfs'>;

async function start(lack: Lack = {}): Promise<JailedNode> {
  return await JailedNode.start({
    config: CONFIG,
    paths: NEEDED,
    containers: [{ pod: 'train-0', devices: { [CUFILE]: ['numa0-0'], [RDMA]: [`${HCA}-0`] } }],
    interfaces: INTERFACES,
    args: [`--features-dir=${LABELS}`, '--metrics=127.0.0.1:9477'],
    ...lack,
  });
}

/** What it is all for. Each fails without something of the list. */
const CHECKS: Readonly<Record<string, (on: JailedNode, timeoutMs: number) => Promise<void>>> = {
  async 'gives a container its HCA'(on, timeoutMs) {
    await on.usable(RDMA, timeoutMs);
    const request = { containerRequests: [{ devicesIds: [`${HCA}-0`] }] };
    const { containerResponses } = await on.node.kubelet.plugin(RDMA).allocate(request, CALL);
    const files = containerResponses[0]?.devices.map(({ hostPath }) => hostPath);
    assert.deepEqual(files, ['/dev/infiniband/uverbs0', '/dev/infiniband/rdma_cm']);
  },

  async 'makes a cufile.json for what the container holds'(on, timeoutMs) {
    await on.usable(CUFILE, timeoutMs);
    const calls = on.node.kubelet.plugin(CUFILE);
    const { containerResponses } = await calls.allocate({ containerRequests: [{ devicesIds: ['numa0-0'] }] }, CALL);
    await calls.preStartContainer({ devicesIds: ['numa0-0'] }, CALL);
    const mount = containerResponses[0]?.mounts.find(({ containerPath }) => containerPath === '/etc/nabustore/cufile');
    const folder = on.of(STATE) + String(mount?.hostPath).slice(STATE.length);
    assert.match(readFileSync(join(folder, 'NOTES'), 'utf8'), /^HCAs: mlx5_0 \(0000:1a:00\.0\)\.$/m);
  },

  async 'names the address of the HCA in it'(on, timeoutMs) {
    await CHECKS['makes a cufile.json for what the container holds']?.(on, timeoutMs);
    const found = execFileSync('grep', ['-rl', 'rdma_dev_addr_list', on.of(STATE)], { encoding: 'utf8' });
    const { properties } = JSON.parse(readFileSync(found.trim(), 'utf8'));
    assert.deepEqual(properties.rdma_dev_addr_list, [INTERFACES.ibp26s0]);
  },

  async 'gives a container a hugetlbfs by CDI'(on, timeoutMs) {
    await on.usable(HUGETLBFS, timeoutMs);
    const id = (on.node.kubelet.advertised(HUGETLBFS) ?? []).find((one) => !one.startsWith('!')) ?? '';
    const request = { containerRequests: [{ devicesIds: [id] }] };
    const { containerResponses } = await on.node.kubelet.plugin(HUGETLBFS).allocate(request, CALL);
    assert.equal(containerResponses[0]?.cdiDevices.length, 1);
    assert(readdirSync(on.of(CDI)).some((name) => name.endsWith('.json')));
  },

  async 'writes labels of the node'(on, timeoutMs) {
    const path = join(on.of(LABELS), 'nabustore');
    const isWritten = (): boolean => readdirSync(on.of(LABELS)).includes('nabustore');
    await on.until('labels are written', isWritten, timeoutMs);
    assert.match(readFileSync(path, 'utf8'), /^nabustore\.io\/gds\.mode=nvidia-fs$/m);
  },
};

const FIRST = 'gives a container its HCA';

/** Without it, this is what fails. */
const FAILS_WITHOUT: Readonly<Record<string, keyof typeof CHECKS>> = {
  '/sys': FIRST,
  '/dev': FIRST,
  '/var/lib/kubelet/device-plugins': FIRST,
  '/var/lib/kubelet/pod-resources': 'makes a cufile.json for what the container holds',
  [STATE]: 'makes a cufile.json for what the container holds',
  [CDI]: 'gives a container a hugetlbfs by CDI',
  [LABELS]: 'writes labels of the node',
};

describe('the least privilege of nabu device-plugin', function () {
  this.timeout(120_000);
  let on: JailedNode | undefined;

  before(function () {
    const lacking = missingForJail();
    if (lacking !== '') skip(this, lacking);
  });
  afterEach(async () => {
    await on?.close();
    on = undefined;
  });

  const failing = async (check: keyof typeof CHECKS | undefined, lack: Lack): Promise<void> => {
    on = await start(lack);
    const run = CHECKS[String(check)];
    assert(run !== undefined, 'there is no check for it');
    // Whatever needs a thing of its own leaves the rest alone.
    if (check !== FIRST && lack.user === undefined) await CHECKS[FIRST]?.(on, START_MS);
    await assert.rejects(run(on, LACK_MS));
  };

  it('is enough for all that it does, and it has no capability then', async () => {
    on = await start();
    for (const check of Object.values(CHECKS)) await check(on, START_MS);
    const { statuses } = on;
    assert(statuses.length > 0);
    for (const status of statuses) {
      const sets = [...status.matchAll(/^Cap(Inh|Prm|Eff|Bnd|Amb):\s+([0-9a-f]+)$/gm)].map(([, , bits]) =>
        Number(bits),
      );
      assert.deepEqual(sets, [0, 0, 0, 0, 0]);
      assert.match(status, /^NoNewPrivs:\s+1$/m);
    }
    assert.doesNotMatch(on.log, /"level":"error"/);
  });

  it("is enough to hear the kernel's events", async () => {
    on = await start({ sysfs: '/sys' });
    await on.until('the machine is watched', () => on?.log.includes('"message":"running"') === true, START_MS);
    assert.match(on.log, /"message":"the machine is watched[^"]*",.*"hasEvents":true/);
  });

  for (const { hostPath, access } of NEEDED) {
    it(`does not hold anything to spare: without ${hostPath} something fails`, async () => {
      await failing(FAILS_WITHOUT[hostPath], { paths: NEEDED.filter((one) => one.hostPath !== hostPath) });
    });
    if (access === 'write') {
      it(`says write where it must: with ${hostPath} read-only something fails`, async () => {
        const paths = NEEDED.map((one) => (one.hostPath === hostPath ? { ...one, access: 'read' as const } : one));
        await failing(FAILS_WITHOUT[hostPath], { paths });
      });
    }
  }

  it("needs the host's network: without it a cufile.json has no address", async () => {
    await failing('names the address of the HCA in it', { hostNetwork: false });
  });

  it('needs to be root: another user does not reach the kubelet', async () => {
    await failing(FIRST, { user: 65_534 });
  });
});
