import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiConstructor, ApiType } from '@kubernetes/client-node';
import { PidFile, readPidFile } from '../../../common/fs/index.ts';
import { Cgroup } from '../host/cgroups.ts';
import { HostChanges } from '../host/changes.ts';
import { untilHeld } from '../host/lock.ts';
import { LOCK_FILE, readRecord } from '../host/record.ts';
import { restoreHost } from '../host/restore.ts';
import { type RunOptions, run } from '../host/run.ts';
import { until } from '../host/until.ts';
import { writeTestImages } from '../images/index.ts';
import { programsFolder } from '../programs/programs.ts';
import { probe } from './api-probe.ts';
import { Components } from './components.ts';
import { containerdArgs } from './containerd.ts';
import {
  apiServerArgs,
  type ControlPlaneOptions,
  controllerManagerArgs,
  etcdArgs,
  type FeatureGates,
  PORT_NAMES,
  type Ports,
  schedulerArgs,
  serverUrl,
} from './control-plane.ts';
import { credentialsOf, writeCredentials } from './credentials.ts';
import { DEVICE_PLUGINS, kubeletArgs, mountDevicePlugins } from './kubelet.ts';
import { type ClusterLayout, layoutOf } from './layout.ts';
import { missingForCluster, refuseNode } from './missing.ts';
import { freePorts } from './ports.ts';
import { type Reaper, reapWhenOrphaned } from './reaper.ts';

/** The API server asks a node for logs by its name: this one leads to 127.0.0.1 on every machine. */
const NODE = 'localhost';
const CGROUP = 'nabu-kube';
const BRIDGE = 'nabu-kube';
const START_MS = 120_000;
const NODE_MS = 60_000;
const HUGE_PAGES = 256;
/** A cluster whose owner has just died is being taken away. */
const LOCK_WAIT_MS = 60_000;

export type KubeClusterOptions = {
  readonly featureGates?: FeatureGates;
  readonly runtimeConfig?: readonly string[];
  /** Huge pages of 2 MiB that the node has; 256 by default. */
  readonly hugePages?: number;
  /** How long to wait for another cluster on this machine to end. */
  readonly waitMs?: number;
  /** Stays when a test that uses it ends. */
  readonly byHand?: boolean;
};

type Parts = {
  readonly layout: ClusterLayout;
  readonly node: string;
  readonly ports: Ports;
  readonly cgroup: Cgroup;
  readonly programs: string;
  readonly featureGates: FeatureGates;
  readonly owned?: { readonly lock: PidFile; readonly reaper: Reaper };
};

/**
 * A Kubernetes of real components on this machine: etcd, API server, controller manager, scheduler, containerd and a kubelet,
 * all on 127.0.0.1 and below one temporary folder. One at a time on a machine. `stop` leaves nothing; where the process that
 * started it dies, another one sees to that.
 */
export class KubeCluster {
  readonly layout: ClusterLayout;
  /** The name of its only node. */
  readonly node: string;
  readonly kubeconfig: string;
  /** Has device-plugins/, pod-resources/, plugins_registry/ and plugins/, as /var/lib/kubelet does. */
  readonly kubeletDir: string;
  readonly devicePluginDir = DEVICE_PLUGINS;
  /** containerd takes CDI specifications from it. */
  readonly cdiDir: string;
  readonly nriSocket: string;
  readonly #parts: Parts;
  readonly #components: Components;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.layout = parts.layout;
    this.node = parts.node;
    this.kubeconfig = parts.layout.kubeconfig;
    this.kubeletDir = parts.layout.kubelet;
    this.cdiDir = parts.layout.cdi;
    this.nriSocket = parts.layout.nriSocket;
    this.#components = new Components(parts.layout, parts.cgroup);
  }

  /** What this machine lacks for one, in words; empty where it can run one. */
  static async missing(): Promise<string> {
    return await missingForCluster();
  }

  /** Resolves when the node takes pods. Cleans up first what a cluster whose owner died has left. */
  static async start(options: KubeClusterOptions = {}): Promise<KubeCluster> {
    const missing = await missingForCluster();
    if (missing !== '') throw new Error(`a test cluster needs ${missing}`);
    const lock = await untilHeld(
      () => PidFile.acquire(LOCK_FILE),
      options.waitMs ?? LOCK_WAIT_MS,
      (pid) =>
        process.stdout.write(`kube: waiting for the test cluster of process ${pid}: one machine has one kubelet\n`),
    );
    try {
      await restoreHost();
      await refuseNode();
      return await KubeCluster.#startOwned(lock, options);
    } catch (err) {
      await restoreHost();
      await lock.release();
      throw err;
    }
  }

  static async #startOwned(lock: PidFile, options: KubeClusterOptions): Promise<KubeCluster> {
    const folder = join(tmpdir(), `nabu-kube-${randomBytes(4).toString('hex')}`);
    const reaper = await reapWhenOrphaned();
    const changes = new HostChanges({
      version: 1,
      folder,
      cgroup: CGROUP,
      bridge: BRIDGE,
      sysctls: {},
      made: [],
      mounted: [],
    });
    await changes.remember();
    await mkdir(folder, { mode: 0o700 });
    await changes.shareFolder();
    await changes.mountHugetlbController();
    await changes.reserveHugePages(options.hugePages ?? HUGE_PAGES);
    await changes.forwardPackets();
    const cgroup = await Cgroup.named(CGROUP);
    await cgroup.make();
    const parts: Parts = {
      layout: layoutOf(folder),
      node: NODE,
      ports: await freePorts(PORT_NAMES),
      cgroup,
      programs: await programsFolder(),
      featureGates: options.featureGates ?? {},
      owned: { lock, reaper },
    };
    const cluster = new KubeCluster(parts);
    try {
      await cluster.#startAll(options.runtimeConfig ?? []);
      const { node, ports, featureGates } = parts;
      await changes.write({ running: { node, ports, featureGates, byHand: options.byHand ?? false } });
      return cluster;
    } catch (err) {
      const logs = await cluster.keepLogs();
      await reaper.dismiss();
      throw new Error(`the test cluster did not start; its logs are kept in ${logs}`, { cause: err });
    }
  }

  /** The cluster that somebody keeps running by hand on this machine; undefined where there is none. */
  static async attach(): Promise<KubeCluster | undefined> {
    const record = await readRecord();
    if (record?.running?.byHand !== true || (await readPidFile(LOCK_FILE)) === undefined) return undefined;
    const { node, ports, featureGates } = record.running;
    return new KubeCluster({
      layout: layoutOf(record.folder),
      node,
      ports,
      cgroup: await Cgroup.named(record.cgroup),
      programs: await programsFolder(),
      featureGates,
    });
  }

  /** A copy that stays, as the cluster's own folder goes; where it is. */
  async keepLogs(): Promise<string> {
    const kept = await mkdtemp(join(tmpdir(), 'nabu-kube-failed-'));
    await cp(this.layout.logs, kept, { recursive: true });
    return kept;
  }

  /** Whether `stop` is this object's to do. */
  get isOwned(): boolean {
    return this.#parts.owned !== undefined;
  }

  async #startAll(runtimeConfig: readonly string[]): Promise<void> {
    const { layout, node, ports, programs, featureGates } = this.#parts;
    const credentials = credentialsOf(layout);
    const options: ControlPlaneOptions = { layout, ports, credentials, featureGates, runtimeConfig };
    await Promise.all([
      this.#start('etcd', etcdArgs(options)),
      this.#startContainerd(),
      writeCredentials(layout, node, serverUrl(ports)).then(() =>
        this.#start('kube-apiserver', apiServerArgs(options)),
      ),
      writeTestImages(layout.images, programs),
    ]);
    await mountDevicePlugins(layout);
    const images = this.#importTestImages();
    await until('the API server to be ready', START_MS, async () => {
      await this.#components.refuseDead('etcd');
      await this.#components.refuseDead('kube-apiserver');
      return (await probe(credentials, ports.apiServer, '/readyz', true)) === 'ok' ? true : undefined;
    });
    await Promise.all([
      this.#start('kube-controller-manager', controllerManagerArgs(options)),
      schedulerArgs(options).then((args) => this.#start('kube-scheduler', args)),
      images.then(() => this.startKubelet()),
    ]);
    await this.#untilNodeReady();
  }

  async #start(name: string, args: readonly string[]): Promise<void> {
    await this.#components.start(name, join(this.#parts.programs, name), args);
  }

  async #startContainerd(): Promise<void> {
    const { layout, programs } = this.#parts;
    const args = await containerdArgs(layout, BRIDGE);
    // It looks for its shim on the path, and for runc.
    const path = `${programs}:${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
    await this.#components.start('containerd', join(programs, 'containerd'), args, { PATH: path });
  }

  async #untilContainerdAnswers(): Promise<void> {
    await until('containerd to answer', START_MS, async () => {
      await this.#components.refuseDead('containerd');
      await this.ctr('version');
      return true;
    });
  }

  async #importTestImages(): Promise<void> {
    const { layout } = this.#parts;
    await this.#untilContainerdAnswers();
    for (const name of ['pause', 'busybox']) await this.importImage(join(layout.images, `${name}.tar`));
  }

  /** Ready, and without the taints that a new node has until the controllers have seen it. */
  async #untilNodeReady(): Promise<void> {
    const { CoreV1Api } = await import('@kubernetes/client-node');
    const api = await this.api(CoreV1Api);
    await until(`node ${this.node} to be ready`, NODE_MS, async () => {
      await this.#components.refuseDead('kubelet');
      const { spec, status } = await api.readNode({ name: this.node });
      const ready = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
      return ready === true && (spec?.taints ?? []).length === 0 ? true : undefined;
    });
  }

  /** A typed client with all rights. */
  async api<T extends ApiType>(client: ApiConstructor<T>): Promise<T> {
    const { KubeConfig } = await import('@kubernetes/client-node');
    const config = new KubeConfig();
    config.loadFromString(await readFile(this.kubeconfig, 'utf8'));
    return config.makeApiClient(client);
  }

  /** Resolves with what it writes. */
  async kubectl(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const program = join(this.#parts.programs, 'kubectl');
    return await run(program, ['--kubeconfig', this.kubeconfig, ...args], options);
  }

  /** Objects as `kubectl apply` takes them. */
  async apply(...objects: readonly object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await this.kubectl(['apply', '-f', '-'], { input });
  }

  /** containerd's own client, in the namespace of the kubelet. */
  async ctr(...args: readonly string[]): Promise<string> {
    const program = join(this.#parts.programs, 'ctr');
    return await run(program, ['--address', this.layout.containerdSocket, '--namespace', 'k8s.io', ...args]);
  }

  /** An archive of an OCI image layout: see ociImage. */
  async importImage(archive: string): Promise<void> {
    await this.ctr('images', 'import', '--local', archive);
  }

  /** Resolves when the kubelet answers and knows the pods that it has to run. */
  async startKubelet(): Promise<void> {
    const { layout, node, ports, featureGates, cgroup } = this.#parts;
    const credentials = credentialsOf(layout);
    const options = { layout, node, ports, credentials, featureGates, cgroup: cgroup.name };
    await this.#start('kubelet', await kubeletArgs(options));
    await until('the kubelet to answer', NODE_MS, async () => {
      await this.#components.refuseDead('kubelet');
      return (await probe(credentials, ports.kubelet, '/healthz', false)) === 'ok' ? true : undefined;
    });
    const { CoreV1Api } = await import('@kubernetes/client-node');
    const api = await this.api(CoreV1Api);
    await until('the kubelet to know its pods', NODE_MS, async () => {
      const { items } = await api.listPodForAllNamespaces({ fieldSelector: `spec.nodeName=${node}` });
      const known = await probe(credentials, ports.kubelet, '/pods', false);
      return items.every(({ metadata }) => known.includes(`"${metadata?.uid}"`)) ? true : undefined;
    });
  }

  async stopKubelet(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#components.stop('kubelet', signal);
  }

  async restartKubelet(): Promise<void> {
    await this.stopKubelet();
    await this.startKubelet();
  }

  /** Resolves when containerd answers again. Containers go on meanwhile. */
  async restartContainerd(): Promise<void> {
    await this.#components.stop('containerd', 'SIGTERM');
    await this.#startContainerd();
    await this.#untilContainerdAnswers();
  }

  /** A process of a test, on the node: it ends with the cluster at the latest. */
  async startProcess(name: string, program: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<void> {
    await this.#components.start(name, program, args, env);
  }

  /** Resolves when it is gone. */
  async stopProcess(name: string, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#components.stop(name, signal);
  }

  /** The end of what a component or a process wrote: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet. */
  async logOf(component: string): Promise<string> {
    return await this.#components.tail(component);
  }

  /** Ends everything and puts the machine back as it was. Rejects with what is left, if anything is. */
  async stop(): Promise<void> {
    const { owned } = this.#parts;
    if (owned === undefined) throw new Error('the cluster is of the process that started it by hand');
    await restoreHost();
    await owned.reaper.dismiss();
    await owned.lock.release();
  }
}
