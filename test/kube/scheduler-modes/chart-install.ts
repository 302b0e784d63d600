import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CoreV1Api, type KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import type { Chart, Rendered } from '../chart.ts';
import { until } from '../host/until.ts';
import type { Plane } from '../plane/plane.ts';
import { ExtenderProcess } from '../scheduler/extender-process.ts';
import { SchedulerAdmissionProcess } from '../scheduler-admission/admission-process.ts';
import { accountKubeconfig } from './account-kubeconfig.ts';

const ASKED_MS = 60_000;
const CRDS = join(import.meta.dirname, '../../../charts/nabustore/crds');
const NAMESPACE = 'nabustore';
const EXTENDER = 'nabu-nabustore-scheduler-extender';
const ADMISSION = 'nabu-nabustore-scheduler-admission';
const SCHEDULER = 'nabu-nabustore-scheduler';
/** What its processes may do and whom that is about, and nothing that would run: there is no kubelet. */
const RIGHTS = new Set(['ServiceAccount', 'Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'Service']);
/** Flags that say where things are on a node of the cluster. */
const PLACES = ['--listen', '--health', '--tls-cert', '--tls-key', '--client-ca', '--extender', '--address'];
/** An EndpointSlice takes no address of this machine; nothing follows it here. */
const NO_ADDRESS = '192.0.2.1';
const NOT_INSTALLED = { devicePlugin: { enabled: false }, admission: { enabled: false }, policies: { enabled: false } };

const deploymentSchema = z.object({
  spec: z.object({
    template: z.object({ spec: z.object({ containers: z.array(z.object({ args: z.array(z.string()) })).length(1) }) }),
  }),
});
const secretSchema = z.object({ data: z.record(z.string(), z.string()) });
const mapSchema = z.object({ data: z.object({ 'scheduler.yaml': z.string() }) });
const configurationSchema = z.looseObject({ extenders: z.array(z.looseObject({})).length(1) });

/** Where what the scheduler needs to ask the extender lies, and where that is. */
export type ExtenderFiles = {
  readonly urlPrefix: string;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** The name in the extender's certificate: a Service's, which nothing leads to here. */
  readonly serverName: string;
};

/**
 * What `helm install` makes of the scheduler's parts, where nothing runs pods: their rights as the chart gives them, and their programs
 * as processes of this machine, with the chart's flags and a token of their service account.
 */
export class ChartInstall {
  readonly extender: ExtenderProcess | undefined;
  readonly admission: SchedulerAdmissionProcess | undefined;
  readonly files: ExtenderFiles;
  readonly folder: string;
  readonly #plane: Plane;
  readonly #config: KubeConfig;
  readonly #objects: readonly Rendered[];
  readonly #schedulers: string[] = [];
  readonly #replicas: ExtenderProcess[] = [];

  private constructor(
    install: Pick<ChartInstall, 'extender' | 'admission' | 'files' | 'folder'>,
    plane: Plane,
    objects: readonly Rendered[],
  ) {
    this.extender = install.extender;
    this.admission = install.admission;
    this.files = install.files;
    this.folder = install.folder;
    this.#plane = plane;
    this.#config = plane.config();
    this.#objects = objects;
  }

  /** Resolves when the extender is ready and the webhook is registered; no scheduler is started. `flags`: of both, besides. */
  static async start(plane: Plane, chart: Chart, values: object, flags: readonly string[] = []): Promise<ChartInstall> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-chart-install-'));
    const config = plane.config();
    const all = { ...NOT_INSTALLED, ...values };
    const objects = await chart.render(all, NAMESPACE);
    let extender: ExtenderProcess | undefined;
    let admission: SchedulerAdmissionProcess | undefined;
    try {
      await applyRights(config, objects);
      const files = await writeCertificates(folder, objects);
      const account = async (name: string): Promise<string> => {
        const path = join(folder, `${name}.kubeconfig`);
        await writeFile(path, await accountKubeconfig(config, NAMESPACE, name), { mode: 0o600 });
        return path;
      };
      let urlPrefix = '';
      let healthUrl = '';
      if (argsOf(objects, EXTENDER) !== undefined) {
        await account(EXTENDER);
        extender = await startExtender(folder, objects, flags);
        urlPrefix = `https://127.0.0.1:${extender.port}`;
        healthUrl = `http://127.0.0.1:${extender.healthPort}`;
        await extender.untilReady();
      }
      const admissionArgs = argsOf(objects, ADMISSION);
      if (admissionArgs !== undefined) {
        const asks = healthUrl === '' ? [] : [`--extender=${healthUrl}`];
        admission = await SchedulerAdmissionProcess.start(
          await account(ADMISSION),
          ...admissionArgs,
          ...asks,
          ...flags,
        );
        await admission.untilReady();
        const tls = { source: 'secret', secretName: 'unused', caBundle: admission.authority, url: admission.url };
        await register(config, chart, all, tls);
      }
      return new ChartInstall({ extender, admission, folder, files: { ...files, urlPrefix } }, plane, objects);
    } catch (err) {
      await admission?.stop();
      await extender?.stop();
      await rm(folder, { recursive: true, force: true });
      throw err;
    }
  }

  /** The API server has heard of the webhook's registration: a pod that is made before is not looked at. */
  async untilAsked(): Promise<void> {
    const core = this.#config.makeApiClient(CoreV1Api);
    const metadata = { name: 'probe', annotations: { 'nabustore.io/models': 'none' } };
    const body = { metadata, spec: { containers: [{ name: 'probe', image: 'none' }] } };
    await until('the webhook is asked', ASKED_MS, async () => {
      await core.createNamespacedPod({ namespace: 'default', body, dryRun: 'All' });
      if ((await this.admission?.reviews()) === 0) throw new Error('the API server has not asked it');
      return true;
    });
  }

  /** One more of the extender's Deployment. */
  async startReplica(): Promise<ExtenderProcess> {
    const replica = await startExtender(this.folder, this.#objects, []);
    this.#replicas.push(replica);
    return replica;
  }

  /** The second scheduler, with the configuration of the chart's ConfigMap and the rights of its account. */
  async startSecondScheduler(): Promise<void> {
    const map = this.#objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === SCHEDULER);
    const { data } = mapSchema.parse(map);
    const kubeconfig = join(this.folder, `${SCHEDULER}.kubeconfig`);
    await writeFile(kubeconfig, await accountKubeconfig(this.#config, NAMESPACE, SCHEDULER), { mode: 0o600 });
    await this.startScheduler('second', parse(data['scheduler.yaml']), kubeconfig);
  }

  /** A scheduler that asks the extender by a configuration made for a real cluster: only where things are is changed. */
  async startScheduler(name: string, configuration: unknown, kubeconfig: string): Promise<void> {
    const here = { ...this.files };
    const { urlPrefix, ...tlsConfig } = here;
    const given = configurationSchema.parse(configuration);
    const extenders = given.extenders.map((extender) => ({ ...extender, urlPrefix, tlsConfig }));
    const clientConnection = { ...Object(given.clientConnection), kubeconfig };
    this.#schedulers.push(name);
    await this.#plane.configureScheduler(name, { ...given, extenders, clientConnection });
  }

  /** Its rights stay. */
  async stop(): Promise<void> {
    if (this.admission !== undefined) {
      const api = KubernetesObjectApi.makeApiClient(this.#config);
      // Where the API server is gone too there is nothing left to take away.
      for (const object of this.#objects.filter(isRegistration)) await api.delete(object).catch(() => undefined);
    }
    for (const name of this.#schedulers) await this.#plane.stopScheduler(name);
    await this.admission?.stop();
    await this.extender?.stop();
    for (const replica of this.#replicas) await replica.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function startExtender(
  folder: string,
  objects: readonly Rendered[],
  flags: readonly string[],
): Promise<ExtenderProcess> {
  const at = (name: string): string => join(folder, name);
  const tls = [`--tls-cert=${at('tls.crt')}`, `--tls-key=${at('tls.key')}`, `--client-ca=${at('ca.crt')}`];
  const here = ['--health=127.0.0.1:0', `--address=${NO_ADDRESS}`, ...tls, ...flags];
  return await ExtenderProcess.start(at(`${EXTENDER}.kubeconfig`), ...(argsOf(objects, EXTENDER) ?? []), ...here);
}

/** The flags of a Deployment, but for those that are about nodes. */
function argsOf(objects: readonly Rendered[], name: string): readonly string[] | undefined {
  const found = objects.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name);
  if (found === undefined) return undefined;
  const [container] = deploymentSchema.parse(found).spec.template.spec.containers;
  const [, ...args] = container?.args ?? [];
  return args.filter((arg) => !PLACES.includes(arg.split('=')[0] ?? ''));
}

async function applyRights(config: KubeConfig, objects: readonly Rendered[]): Promise<void> {
  const api = KubernetesObjectApi.makeApiClient(config);
  const names = await readdir(CRDS).catch(() => []);
  const texts = await Promise.all(names.map((name) => readFile(join(CRDS, name), 'utf8')));
  const crds = texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Rendered));
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
  const rights = objects.filter(({ kind }) => RIGHTS.has(kind));
  for (const object of [namespace, ...crds, ...rights]) {
    await api.create(object).catch((err: unknown) => {
      if (Reflect.get(Object(err), 'code') !== 409) throw err;
    });
  }
}

const isRegistration = ({ kind }: Rendered): boolean => kind === 'MutatingWebhookConfiguration';

async function register(config: KubeConfig, chart: Chart, values: object, tls: object): Promise<void> {
  const given: unknown = Reflect.get(values, 'schedulerAdmission');
  const objects = await chart.render({ ...values, schedulerAdmission: { ...Object(given), tls } }, NAMESPACE);
  const api = KubernetesObjectApi.makeApiClient(config);
  for (const object of objects.filter(isRegistration)) await api.create(object);
}

/** What lies in the chart's Secret for the extender and those who ask it. */
async function writeCertificates(folder: string, objects: readonly Rendered[]): Promise<ExtenderFiles> {
  const at = (name: string): string => join(folder, name);
  const secret = objects.find(({ kind, metadata }) => kind === 'Secret' && metadata.name === `${EXTENDER}-tls`);
  const data = secret === undefined ? {} : secretSchema.parse(secret).data;
  for (const [name, base64] of Object.entries(data)) {
    await writeFile(at(name), Buffer.from(base64, 'base64'), { mode: 0o600 });
  }
  return {
    urlPrefix: '',
    caFile: at('ca.crt'),
    certFile: at('client.crt'),
    keyFile: at('client.key'),
    serverName: `${EXTENDER}.${NAMESPACE}.svc`,
  };
}
