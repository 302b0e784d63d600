import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEVICE_PLUGIN_PRIVILEGES, type HostPathNeed } from '../../device-plugin/privileges.ts';
import { h200 } from '../fixtures/machines/h200-8gpu.ts';
import { eventually } from './kubelet-double.ts';
import { PluginJail, type Seen } from './plugin-jail.ts';
import { canMakeDevices, PluginNode } from './plugin-node.ts';
import { type DoubleContainer, PodResourcesDouble } from './pod-resources-double.ts';

const { hostPaths, user, hostNetwork } = DEVICE_PLUGIN_PRIVILEGES;
export const STATE = '/var/lib/nabustore/device-plugin';
export const CDI = '/var/run/cdi';
export const LABELS = '/etc/kubernetes/node-feature-discovery/features.d';

export type JailedNodeOptions = {
  readonly config: object;
  /** What it gets of the node. */
  readonly paths: readonly HostPathNeed[];
  readonly containers?: readonly DoubleContainer[];
  /** The host's interfaces and their addresses; undefined: it has the network of this machine. */
  readonly interfaces?: Readonly<Record<string, string>>;
  readonly user?: number;
  readonly hostNetwork?: boolean;
  /** Shown in place of the recorded /sys. */
  readonly sysfs?: string;
  readonly args?: readonly string[];
  /** Files that it sees in /etc/nabustore beside its configuration. */
  readonly files?: Readonly<Record<string, string>>;
};

/** What this machine lacks for one, in words; empty where it can run one. */
export function missingForJail(): string {
  if (!canMakeDevices()) return 'right to make device files (CAP_MKNOD)';
  try {
    execFileSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { stdio: 'ignore' });
    return '';
  } catch {
    return 'right to make namespaces (CAP_SYS_ADMIN)';
  }
}

/** A recorded H200 node whose plugin runs in a jail, as it would in the container of the chart. */
export class JailedNode {
  readonly node = new PluginNode(h200);
  readonly pods = new PodResourcesDouble(join(this.node.kubeletDir, 'pod-resources', 'kubelet.sock'));
  readonly #jail: PluginJail;

  private constructor(options: JailedNodeOptions) {
    const { config, paths, interfaces, args = [], sysfs = this.of('/sys') } = options;
    for (const { hostPath } of hostPaths) mkdirSync(this.of(hostPath), { recursive: true });
    this.node.configure(config);
    for (const [name, text] of Object.entries(options.files ?? {})) {
      writeFileSync(join(this.node.root, 'config', name), text);
    }
    const seen = paths.map(({ hostPath, containerPath, access }): Seen => {
      return { from: hostPath === '/sys' ? sysfs : this.of(hostPath), at: containerPath, access };
    });
    this.#jail = new PluginJail({
      // A container has a /proc of its own, in which the drivers of the node show themselves: here they are recorded ones.
      seen: [
        ...seen,
        { from: this.node.machine.roots.procRoot, at: '/recorded/proc', access: 'read' },
        { from: join(this.node.root, 'config'), at: '/etc/nabustore', access: 'read' },
      ],
      user: options.user ?? user,
      interfaces,
      hostNetwork: options.hostNetwork ?? hostNetwork,
      args: [
        ...['--resources=/etc/nabustore/resources.yaml', '--node-name=node-1', '--proc-root=/recorded/proc'],
        ...['--sysfs-root=/host/sys', '--dev-root=/host/dev', '--kubelet-dir=/var/lib/kubelet'],
        ...[`--state-dir=${STATE}`, `--cdi-dir=${CDI}`, ...args],
      ],
    });
  }

  static async start(options: JailedNodeOptions): Promise<JailedNode> {
    const jailed = new JailedNode(options);
    jailed.pods.containers = [...(options.containers ?? [])];
    await jailed.node.kubelet.start();
    await jailed.pods.start();
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

  /** /proc/PID/status of the plugin, which is told from others of this machine by the name of its jail. */
  get statuses(): readonly string[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => this.#jail.holds(Number(pid)))
      .map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'));
  }

  /** Fails at once where the plugin has ended. */
  async until(what: string, isTrue: () => boolean, timeoutMs: number): Promise<void> {
    const end = (): string => this.log.slice(-3000);
    await eventually(what, () => this.#jail.hasEnded || isTrue(), timeoutMs, end);
    assert(isTrue(), `${what}: the plugin has ended: ${end()}`);
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
