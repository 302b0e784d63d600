import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { probe } from '../cluster/api-probe.ts';
import { apiServerArgs, type ControlPlaneOptions, etcdArgs, PORT_NAMES, serverUrl } from '../cluster/control-plane.ts';
import { credentialsOf, writeCredentials } from '../cluster/credentials.ts';
import { layoutOf } from '../cluster/layout.ts';
import { freePorts } from '../cluster/ports.ts';
import { until } from '../host/until.ts';
import { BUILDS, missingPrograms, programsFolder } from '../programs/programs.ts';

const READY_MS = 90_000;
const STOP_MS = 10_000;
const PROGRAMS = new Set(['etcd', 'kube-apiserver', 'kube-scheduler']);

export type SchedulerExtender = {
  readonly port: number;
  readonly nodeCacheCapable: boolean;
  /** How long the scheduler waits for an answer; where it is not given, longer than a busy machine takes. */
  readonly httpTimeoutMs?: number;
};

/**
 * etcd, an API server and a scheduler, as processes of this machine and nothing else: nodes are objects, pods are bound and never run.
 * Unlike a whole cluster there may be many at one time.
 */
export class SchedulerPlane {
  readonly #options: ControlPlaneOptions;
  readonly #programs: string;
  #etcd: ChildProcess | undefined;
  #apiServer: ChildProcess | undefined;
  #scheduler: ChildProcess | undefined;

  private constructor(options: ControlPlaneOptions, programs: string) {
    this.#options = options;
    this.#programs = programs;
  }

  /** What this machine lacks for one, in words; empty where it can run one. */
  static async missing(): Promise<string> {
    const folder = await programsFolder();
    const missing = (await Promise.all(BUILDS.map((build) => missingPrograms(build, folder)))).flat();
    const needed = missing.filter((name) => PROGRAMS.has(name));
    return needed.length === 0 ? '' : `${needed.join(', ')}: \`make test-kube\` builds them`;
  }

  /** Resolves when the API server is ready; there is no scheduler yet. */
  static async start(): Promise<SchedulerPlane> {
    const layout = layoutOf(mkdtempSync(join(tmpdir(), 'nabu-scheduler-')));
    const ports = await freePorts(PORT_NAMES);
    for (const folder of [layout.logs, layout.etcd]) await mkdir(folder, { recursive: true });
    await writeCredentials(layout, 'nobody', serverUrl(ports));
    const options = { layout, ports, credentials: credentialsOf(layout), featureGates: {}, runtimeConfig: [] };
    const plane = new SchedulerPlane(options, await programsFolder());
    try {
      plane.#etcd = plane.#spawn('etcd', etcdArgs(options));
      await plane.startApiServer();
      return plane;
    } catch (err) {
      const log = plane.log('kube-apiserver');
      await plane.stop();
      throw new Error(`no API server: ${log}`, { cause: err });
    }
  }

  get kubeconfig(): string {
    return this.#options.layout.kubeconfig;
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
    this.#apiServer = this.#spawn('kube-apiserver', apiServerArgs(this.#options));
    await until('the API server is ready', READY_MS, () => probe(credentials, ports.apiServer, '/readyz', true));
  }

  async killApiServer(): Promise<void> {
    await this.#end(this.#apiServer, 'SIGKILL');
  }

  /** It goes on from where it was at SIGCONT. */
  signalScheduler(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#scheduler?.kill(signal);
  }

  /** In place of the one before. `extender`: whom it asks about pods that want nabustore.io/locality. */
  async startScheduler({ port, nodeCacheCapable, httpTimeoutMs = 5000 }: SchedulerExtender): Promise<void> {
    await this.#end(this.#scheduler);
    const { layout, credentials } = this.#options;
    const path = join(layout.certificates, 'scheduler-with-extender.json');
    const configuration = {
      apiVersion: 'kubescheduler.config.k8s.io/v1',
      kind: 'KubeSchedulerConfiguration',
      leaderElection: { leaderElect: false },
      clientConnection: { kubeconfig: credentials.scheduler, qps: 2000, burst: 4000 },
      extenders: [
        {
          urlPrefix: `http://127.0.0.1:${port}`,
          filterVerb: 'filter',
          prioritizeVerb: 'prioritize',
          preemptVerb: 'preempt',
          weight: 20,
          nodeCacheCapable,
          httpTimeout: `${httpTimeoutMs}ms`,
          managedResources: [{ name: 'nabustore.io/locality', ignoredByScheduler: true }],
        },
      ],
    };
    writeFileSync(path, JSON.stringify(configuration));
    this.#scheduler = this.#spawn('kube-scheduler', [`--config=${path}`, '--secure-port=0']);
  }

  /** The end of what a program has said. */
  log(program: string): string {
    return readFileSync(join(this.#options.layout.logs, `${program}.log`), 'utf8').slice(-2000);
  }

  async stop(): Promise<void> {
    for (const child of [this.#scheduler, this.#apiServer, this.#etcd]) await this.#end(child);
    rmSync(this.#options.layout.folder, { recursive: true, force: true });
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.#options.layout.logs, `${program}.log`), 'a');
    const child = spawn(join(this.#programs, program), args, { stdio: ['ignore', log, log] });
    closeSync(log);
    return child;
  }

  async #end(child: ChildProcess | undefined, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT'); // one that is held would not hear of it
    const last = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(last);
  }
}
