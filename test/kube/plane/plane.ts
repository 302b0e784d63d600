import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { probe } from '../cluster/api-probe.ts';
import {
  apiServerArgs,
  type ControlPlaneOptions,
  controllerManagerArgs,
  etcdArgs,
  type FeatureGates,
  PORT_NAMES,
  serverUrl,
} from '../cluster/control-plane.ts';
import { credentialsOf, writeCredentials } from '../cluster/credentials.ts';
import { layoutOf } from '../cluster/layout.ts';
import { freePorts } from '../cluster/ports.ts';
import { until } from '../host/until.ts';
import { Children } from './children.ts';
import { KubeApi } from './kube-api.ts';
import { KWOK_ANNOTATION, kwokConfiguration } from './kwok-configuration.ts';
import { missingOf, type Program, planePrograms } from './programs.ts';
import { type SchedulerSetup, schedulerConfiguration } from './scheduler-configuration.ts';

const READY_MS = 90_000;
const SCHEDULER = 'kube-scheduler';
const OF_FLEETS = [
  // Makes every new node unready until a controller has seen it, which does not run here.
  '--disable-admission-plugins=TaintNodesByCondition',
  '--max-requests-inflight=2000',
  '--max-mutating-requests-inflight=1000',
  '--event-ttl=10m',
];
/** What binds claims and lets pods be made; the rest would only work through thousands of nodes that need nothing. */
const CONTROLLERS = ['persistentvolume-binder-controller', 'serviceaccount-controller'];

export type PlaneOptions = {
  /**
   * For thousands of nodes: kwok runs pods as soon as they are bound, controllers bind claims, and nodes are ready as soon as they are
   * made. Without it pods are bound and never run, and nothing looks after claims.
   */
  readonly fleet?: boolean;
};

/**
 * etcd, an API server and any schedulers, as processes of this machine: nodes are objects. Unlike a whole cluster there may be many at
 * one time.
 */
export class Plane {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly children: Children;
  readonly api: KubeApi;
  readonly #options: ControlPlaneOptions;
  readonly #programOf: (program: Program) => string;
  readonly #fleet: boolean;

  private constructor(options: ControlPlaneOptions, programOf: (program: Program) => string, fleet: boolean) {
    this.#options = options;
    this.#programOf = programOf;
    this.#fleet = fleet;
    this.folder = options.layout.folder;
    this.kubeconfig = options.layout.kubeconfig;
    this.children = new Children(options.layout.logs);
    this.api = KubeApi.open(this.kubeconfig);
  }

  /** What this machine lacks for one, in words; empty where it can run one. */
  static async missing({ fleet = false }: PlaneOptions = {}): Promise<string> {
    return await missingOf({ fleet });
  }

  /** Resolves when the API server is ready, with a fleet when pods can be made in the namespace `default`; there is no scheduler yet. */
  static async start({ fleet = false }: PlaneOptions = {}): Promise<Plane> {
    const layout = layoutOf(mkdtempSync(join(tmpdir(), 'nabu-plane-')));
    const ports = await freePorts(PORT_NAMES);
    await mkdir(layout.etcd, { recursive: true });
    await writeCredentials(layout, 'nobody', serverUrl(ports));
    const options = { layout, ports, credentials: credentialsOf(layout), featureGates: {}, runtimeConfig: [] };
    const plane = new Plane(options, await planePrograms(), fleet);
    try {
      plane.spawn('etcd', etcdArgs(options));
      await plane.startApiServer();
      if (fleet) await plane.#startFleet();
      return plane;
    } catch (err) {
      const logs = plane.children.names.map((name) => `${name}:\n${plane.children.log(name)}`);
      await plane.stop();
      throw new Error(`no control plane\n${logs.join('\n')}`, { cause: err });
    }
  }

  config(): KubeConfig {
    const config = new KubeConfig();
    config.loadFromFile(this.kubeconfig);
    return config;
  }

  get apiServerPort(): number {
    return this.#options.ports.apiServer;
  }

  /** Resolves when it is ready, with nothing of the past in its caches. */
  async startApiServer(): Promise<void> {
    const { credentials, ports } = this.#options;
    this.spawn('kube-apiserver', [...apiServerArgs(this.#options), ...(this.#fleet ? OF_FLEETS : [])]);
    await until('the API server is ready', READY_MS, () => {
      this.children.refuseDead('kube-apiserver');
      return probe(credentials, ports.apiServer, '/readyz', true);
    });
  }

  async killApiServer(): Promise<void> {
    await this.children.stop('kube-apiserver', 'SIGKILL');
  }

  /** In place of the one of that name before. */
  async startScheduler(setup: SchedulerSetup = {}): Promise<void> {
    const configuration = schedulerConfiguration(this.#options.credentials.scheduler, setup);
    await this.configureScheduler(setup.name ?? SCHEDULER, configuration, setup.featureGates);
  }

  /** One with a KubeSchedulerConfiguration of its own, in place of the one of that name before. */
  async configureScheduler(name: string, configuration: object, featureGates: FeatureGates = {}): Promise<void> {
    await this.stopScheduler(name);
    const path = join(this.#options.layout.certificates, `${name}.json`);
    writeFileSync(path, JSON.stringify(configuration));
    const gates = Object.entries(featureGates).map(([gate, isOn]) => `${gate}=${isOn}`);
    const inGates = gates.length === 0 ? [] : [`--feature-gates=${gates.join(',')}`];
    this.children.start(name, this.#programOf(SCHEDULER), [`--config=${path}`, '--secure-port=0', ...inGates]);
  }

  /** It goes on from where it was at SIGCONT. */
  signalScheduler(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.children.signal(SCHEDULER, signal);
  }

  async stopScheduler(name: string = SCHEDULER): Promise<void> {
    await this.children.stop(name);
  }

  /** One of the programs that are built for tests. */
  spawn(program: Program, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    this.children.start(program, this.#programOf(program), args, env);
  }

  async stop(): Promise<void> {
    this.api.close();
    await this.children.stopAll();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #startFleet(): Promise<void> {
    this.spawn('kube-controller-manager', [
      ...controllerManagerArgs(this.#options),
      `--controllers=${CONTROLLERS.join(',')}`,
    ]);
    const config = join(this.#options.layout.certificates, 'kwok.yaml');
    writeFileSync(config, kwokConfiguration());
    this.spawn('kwok', [
      `--kubeconfig=${this.kubeconfig}`,
      `--config=${config}`,
      `--manage-nodes-with-annotation-selector=${KWOK_ANNOTATION}=fake`,
      '--node-lease-duration-seconds=0',
      '--node-port=0',
    ]);
    await until('pods can be made', READY_MS, () => this.api.get('/api/v1/namespaces/default/serviceaccounts/default'));
  }
}
