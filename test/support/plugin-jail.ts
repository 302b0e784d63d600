import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const REPOSITORY = join(import.meta.dirname, '../..');

/** A folder or file of this machine that the jailed process sees. */
export type Seen = { readonly from: string; readonly at: string; readonly access: 'read' | 'write' };

export type JailOptions = {
  readonly seen: readonly Seen[];
  readonly user: number;
  /** Interfaces of the host's network with their IPv4 addresses; undefined: the network of this machine. */
  readonly interfaces: Readonly<Record<string, string>> | undefined;
  readonly hostNetwork: boolean;
  readonly args: readonly string[];
};

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** What an image has: the program, its runtime, and the few devices that every container is given. */
const IMAGE: readonly Seen[] = [
  ...['/usr', '/lib', '/lib64', '/bin'].map((path): Seen => ({ from: path, at: path, access: 'read' })),
  { from: REPOSITORY, at: '/opt/nabustore', access: 'read' },
];
const DEVICES = ['null', 'urandom'];

/** Runs in a mount, process and network namespace of its own: what is mounted here nobody else sees, and it ends with it. */
function script({ seen, user, interfaces, hostNetwork, args }: JailOptions, root: string): string {
  const at = (path: string): string => quoted(join(root, path));
  const links = Object.entries(interfaces ?? {}).flatMap(([name, address], index) => [
    `ip link add ${quoted(name)} type veth peer name peer${index}`,
    `ip address add ${quoted(address)}/24 dev ${quoted(name)}`,
    `ip link set ${quoted(name)} up`,
    `ip link set peer${index} up`,
  ]);
  const mounts = [...IMAGE, ...seen].flatMap(({ from, at: path, access }) => [
    `mkdir -p ${at(path)}`,
    `mount --bind ${quoted(from)} ${at(path)}`,
    ...(access === 'read' ? [`mount -o remount,bind,ro ${at(path)}`] : []),
  ]);
  const devices = DEVICES.flatMap((name) => [
    `touch ${at(`dev/${name}`)}`,
    `mount --bind /dev/${name} ${at(`dev/${name}`)}`,
  ]);
  const privileges = [
    ...['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs'],
    ...(user === 0 ? [] : [`--reuid=${user}`, `--regid=${user}`, '--clear-groups']),
  ];
  const command = ['/usr/bin/setpriv', ...privileges, '/opt/nabustore/nabu', 'device-plugin', ...args];
  return [
    'set -eu',
    ...(interfaces === undefined ? [] : ['ip link set lo up', ...links]),
    `mount -t tmpfs -o mode=0755 tmpfs ${quoted(root)}`,
    `mkdir -p ${at('proc')} ${at('dev')}`,
    ...mounts,
    ...devices,
    `mount -t proc proc ${at('proc')}`,
    `mount -o remount,ro ${quoted(root)}`,
    // A pod without the host's network has one of its own, with nothing in it.
    `exec ${hostNetwork ? '' : 'unshare --net '}chroot ${quoted(root)} ${command.map(quoted).join(' ')}`,
  ].join('\n');
}

/** `nabu device-plugin` that sees a root of its own with exactly what it is given, and has no capability. */
export class PluginJail {
  readonly #root = mkdtempSync(join(tmpdir(), 'nabu-jail-'));
  readonly #child: ChildProcess;
  stderr = '';

  constructor(options: JailOptions) {
    mkdirSync(this.#root, { recursive: true });
    const network = options.interfaces === undefined ? [] : ['--net'];
    const namespaces = ['--mount', '--propagation', 'private', ...network, '--pid', '--fork', '--kill-child'];
    const child = spawn('unshare', [...namespaces, 'sh', '-c', script(options, this.#root)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env.PATH ?? '', NODE_COMPILE_CACHE: '' },
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#child = child;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Whether a process of this machine has this jail as its root. */
  holds(pid: number): boolean {
    try {
      return readlinkSync(`/proc/${pid}/root`) === this.#root;
    } catch {
      return false; // it has ended, or is the kernel's
    }
  }

  #children(): readonly number[] {
    const { pid } = this.#child;
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  }

  /** Resolves when it is gone with all that it had mounted. */
  async stop(): Promise<void> {
    if (!this.hasEnded) {
      const exited = once(this.#child, 'exit');
      // The first process of its namespace, whose end ends all others there. --kill-child does not outlive a change of user.
      for (const pid of this.#children()) process.kill(pid, 'SIGKILL');
      this.#child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.#root, { recursive: true, force: true });
  }
}
