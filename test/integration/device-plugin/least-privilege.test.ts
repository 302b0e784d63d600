import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEVICE_PLUGIN_PRIVILEGES, type HostPathNeed } from '../../../device-plugin/privileges.ts';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { PluginJail, type Seen } from '../../support/plugin-jail.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
/** What is not there by then does not come: with all that it needs, the plugin takes a tenth of it. */
const LACK_MS = 6000;
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
const { hostPaths, user, hostNetwork } = DEVICE_PLUGIN_PRIVILEGES;
const STATE = '/var/lib/nabustore/device-plugin';
const CDI = '/var/run/cdi';
const LABELS = '/etc/kubernetes/node-feature-discovery/features.d';
/** Without claims, which need an API server. */
const NEEDED = hostPaths.filter(({ need }) => need !== 'dra');

type Lack = {
  readonly paths?: readonly HostPathNeed[];
  readonly user?: number;
  readonly hostNetwork?: boolean;
  readonly sysfs?: string;
};

/** A recorded H200 node whose plugin runs in a jail, as it would in the container of the chart. */
class JailedNode {
  readonly node = new PluginNode(h200);
  readonly pods = new PodResourcesDouble(join(this.node.kubeletDir, 'pod-resources', 'kubelet.sock'));
  readonly #jail: PluginJail;

  private constructor({ paths = NEEDED, user: uid = user, hostNetwork: onHost = hostNetwork, sysfs }: Lack) {
    for (const { hostPath } of NEEDED) mkdirSync(this.of(hostPath), { recursive: true });
    this.node.configure(CONFIG);
    const seen = paths.map(({ hostPath, containerPath, access }): Seen => {
      return {
        from: hostPath === '/sys' && sysfs !== undefined ? sysfs : this.of(hostPath),
        at: containerPath,
        access,
      };
    });
    this.#jail = new PluginJail({
      // A container has a /proc of its own, in which the drivers of the node show themselves: here they are recorded ones.
      seen: [
        ...seen,
        { from: this.node.machine.roots.procRoot, at: '/recorded/proc', access: 'read' },
        { from: join(this.node.root, 'config'), at: '/etc/nabustore', access: 'read' },
      ],
      user: uid,
      interfaces: INTERFACES,
      hostNetwork: onHost,
      args: [
        ...['--resources=/etc/nabustore/resources.yaml', '--node-name=node-1', '--proc-root=/recorded/proc'],
        ...['--sysfs-root=/host/sys', '--dev-root=/host/dev', '--kubelet-dir=/var/lib/kubelet'],
        ...[`--state-dir=${STATE}`, `--cdi-dir=${CDI}`, `--features-dir=${LABELS}`, '--metrics=127.0.0.1:9477'],
      ],
    });
  }

  static async start(lack: Lack = {}): Promise<JailedNode> {
    const jailed = new JailedNode(lack);
    await jailed.node.kubelet.start();
    await jailed.pods.start();
    jailed.pods.containers = [{ pod: 'train-0', devices: { [CUFILE]: ['numa0-0'], [RDMA]: [`${HCA}-0`] } }];
    return jailed;
  }

  /** Where a path of the node is on this machine. */
  of(hostPath: string): string {
    const { machine, kubeletDir, root } = this.node;
    if (hostPath === '/sys') return machine.roots.sysfsRoot;
    if (hostPath === '/dev') return machine.roots.devRoot;
    if (hostPath.startsWith('/var/lib/kubelet/')) return join(kubeletDir, hostPath.slice('/var/lib/kubelet'.length));
    return join(root, 'host', hostPath);
  }

  get log(): string {
    return this.#jail.stderr;
  }

  /** Fails at once where the plugin has ended. */
  async until(what: string, isTrue: () => boolean, timeoutMs: number): Promise<void> {
    await eventually(
      what,
      () => this.#jail.hasEnded || isTrue(),
      timeoutMs,
      () => this.log.slice(-3000),
    );
    assert(isTrue(), `${what}: the plugin has ended: ${this.log.slice(-3000)}`);
  }

  async usable(resource: string, timeoutMs: number): Promise<void> {
    const isUsable = (): boolean => (this.node.kubelet.advertised(resource) ?? []).some((id) => !id.startsWith('!'));
    await this.until(`${resource} can be had`, isUsable, timeoutMs);
  }

  async close(): Promise<void> {
    await this.#jail.stop();
    await this.pods.stop();
    await this.node.close();
  }
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

function missing(): string {
  if (!canMakeDevices()) return 'right to make device files (CAP_MKNOD)';
  try {
    execFileSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { stdio: 'ignore' });
    return '';
  } catch {
    return 'right to make namespaces (CAP_SYS_ADMIN)';
  }
}

describe('the least privilege of nabu device-plugin', function () {
  this.timeout(120_000);
  let on: JailedNode | undefined;

  before(function () {
    const lacking = missing();
    if (lacking !== '') skip(this, lacking);
  });
  afterEach(async () => {
    await on?.close();
    on = undefined;
  });

  const failing = async (check: keyof typeof CHECKS | undefined, lack: Lack): Promise<void> => {
    on = await JailedNode.start(lack);
    const run = CHECKS[String(check)];
    assert(run !== undefined, 'there is no check for it');
    // Whatever needs a thing of its own leaves the rest alone.
    if (check !== FIRST && lack.user === undefined) await CHECKS[FIRST]?.(on, START_MS);
    await assert.rejects(run(on, LACK_MS));
  };

  it('is enough for all that it does, and it has no capability then', async () => {
    on = await JailedNode.start();
    for (const check of Object.values(CHECKS)) await check(on, START_MS);
    const pids = execFileSync('pgrep', ['-f', '--', `--features-dir=${LABELS}`], { encoding: 'utf8' })
      .trim()
      .split('\n');
    const statuses = pids
      .map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'))
      .filter((text) => /^Name:\s+(node|Main)/m.test(text));
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
    on = await JailedNode.start({ sysfs: '/sys' });
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
