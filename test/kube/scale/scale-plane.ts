import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probe } from '../cluster/api-probe.ts';
import {
  apiServerArgs,
  type ControlPlaneOptions,
  controllerManagerArgs,
  etcdArgs,
  PORT_NAMES,
  serverUrl,
} from '../cluster/control-plane.ts';
import { credentialsOf, writeCredentials } from '../cluster/credentials.ts';
import { layoutOf } from '../cluster/layout.ts';
import { freePorts } from '../cluster/ports.ts';
import { until } from '../host/until.ts';
import { Children } from './children.ts';
import { KWOK_ANNOTATION } from './fleet.ts';
import { KubeApi } from './kube-api.ts';
import { kwokConfiguration } from './kwok-configuration.ts';
import { type ScaleProgram, scalePrograms } from './programs.ts';
import { type SchedulerSetup, schedulerConfiguration } from './scheduler-configuration.ts';

const READY_MS = 90_000;
/** What binds claims and lets pods be made; the rest would only work through thousands of nodes that need nothing. */
const CONTROLLERS = ['persistentvolume-binder-controller', 'serviceaccount-controller'];

/**
 * etcd, an API server, the controllers that bind claims, kwok and any schedulers, as processes of this machine: a control plane for
 * thousands of nodes that are objects, on which pods run as soon as they are bound.
 */
export class ScalePlane {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly children: Children;
  readonly api: KubeApi;
  readonly #options: ControlPlaneOptions;
  readonly #programs: Readonly<Record<ScaleProgram, string>>;

  private constructor(
    options: ControlPlaneOptions,
    programs: Readonly<Record<ScaleProgram, string>>,
    children: Children,
  ) {
    this.#options = options;
    this.#programs = programs;
    this.children = children;
    this.folder = options.layout.folder;
    this.kubeconfig = options.layout.kubeconfig;
    this.api = KubeApi.open(this.kubeconfig);
  }

  /** Resolves when pods can be made in the namespace `default`; there are no nodes, and no scheduler yet. */
  static async start(): Promise<ScalePlane> {
    const layout = layoutOf(mkdtempSync(join(tmpdir(), 'nabu-scale-')));
    const ports = await freePorts(PORT_NAMES);
    await mkdir(layout.etcd, { recursive: true });
    await writeCredentials(layout, 'nobody', serverUrl(ports));
    const options = { layout, ports, credentials: credentialsOf(layout), featureGates: {}, runtimeConfig: [] };
    const plane = new ScalePlane(options, await scalePrograms(), new Children(layout.logs));
    try {
      await plane.#start();
      return plane;
    } catch (err) {
      const logs = plane.children.names.map((name) => `${name}:\n${plane.children.log(name)}`);
      await plane.stop();
      throw new Error(`no control plane\n${logs.join('\n')}`, { cause: err });
    }
  }

  async #start(): Promise<void> {
    const { credentials, ports, layout } = this.#options;
    const start = (name: ScaleProgram, args: readonly string[]): unknown =>
      this.children.start(name, this.#programs[name], args);
    start('etcd', etcdArgs(this.#options));
    start('kube-apiserver', [
      ...apiServerArgs(this.#options),
      // Makes every new node unready until a controller has seen it, which does not run here.
      '--disable-admission-plugins=TaintNodesByCondition',
      '--max-requests-inflight=2000',
      '--max-mutating-requests-inflight=1000',
      '--event-ttl=10m',
    ]);
    await until('the API server is ready', READY_MS, () => {
      this.children.refuseDead('kube-apiserver');
      return probe(credentials, ports.apiServer, '/readyz', true);
    });
    start('kube-controller-manager', [
      ...controllerManagerArgs(this.#options),
      `--controllers=${CONTROLLERS.join(',')}`,
    ]);
    const config = join(layout.certificates, 'kwok.yaml');
    writeFileSync(config, kwokConfiguration());
    start('kwok', [
      `--kubeconfig=${this.kubeconfig}`,
      `--config=${config}`,
      `--manage-nodes-with-annotation-selector=${KWOK_ANNOTATION}=fake`,
      '--node-lease-duration-seconds=0',
      '--node-port=0',
    ]);
    await until('pods can be made', READY_MS, () => this.api.get('/api/v1/namespaces/default/serviceaccounts/default'));
  }

  /** In place of the one of that name before. */
  async startScheduler(setup: SchedulerSetup = {}): Promise<void> {
    const name = setup.name ?? 'kube-scheduler';
    await this.children.stop(name);
    const { layout, credentials } = this.#options;
    const path = join(layout.certificates, `${name}.json`);
    writeFileSync(path, JSON.stringify(schedulerConfiguration(credentials.scheduler, setup)));
    const gates = Object.entries(setup.featureGates ?? {}).map(([gate, isOn]) => `${gate}=${isOn}`);
    this.children.start(name, this.#programs['kube-scheduler'], [
      `--config=${path}`,
      '--secure-port=0',
      ...(gates.length === 0 ? [] : [`--feature-gates=${gates.join(',')}`]),
    ]);
  }

  async stopScheduler(name = 'kube-scheduler'): Promise<void> {
    await this.children.stop(name);
  }

  /** The official sidecar, in front of the driver at `socket`. Publishes capacities every `capacityPollMs`. */
  startProvisioner(socket: string, { capacityPollMs = 1000 }: { readonly capacityPollMs?: number } = {}): void {
    const args = [
      `--csi-address=${socket}`,
      `--kubeconfig=${this.kubeconfig}`,
      '--enable-capacity',
      '--capacity-ownerref-level=-1',
      `--capacity-poll-interval=${capacityPollMs}ms`,
      '--kube-api-capacity-qps=100',
      '--kube-api-capacity-burst=100',
      '--kube-api-qps=1000',
      '--kube-api-burst=2000',
      '--extra-create-metadata',
      '--retry-interval-start=500ms',
      '--retry-interval-max=5s',
      '--v=2',
    ];
    this.children.start('csi-provisioner', this.#programs['csi-provisioner'], args, { NAMESPACE: 'default' });
  }

  async stop(): Promise<void> {
    this.api.close();
    await this.children.stopAll();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
