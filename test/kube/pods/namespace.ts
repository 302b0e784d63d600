import { randomBytes } from 'node:crypto';
import type { CoreV1Event, V1Pod } from '@kubernetes/client-node';
import type { KubeCluster } from '../cluster/index.ts';
import { Hopeless, until } from '../host/until.ts';

const READY_MS = 60_000;
const END_MS = 60_000;
const ACCOUNT_MS = 30_000;

/** A namespace of one test: nothing in it meets another test's objects, and everything in it goes with it. */
export class Namespace implements AsyncDisposable {
  readonly name: string;
  readonly #cluster: KubeCluster;

  private constructor(name: string, cluster: KubeCluster) {
    this.name = name;
    this.#cluster = cluster;
  }

  /** Resolves when it takes pods: they need its service account. */
  static async make(cluster: KubeCluster): Promise<Namespace> {
    const name = `test-${randomBytes(4).toString('hex')}`;
    const core = await Namespace.#core(cluster);
    await core.createNamespace({ body: { metadata: { name } } });
    await until(`the service account of ${name}`, ACCOUNT_MS, () =>
      core.readNamespacedServiceAccount({ name: 'default', namespace: name }),
    );
    return new Namespace(name, cluster);
  }

  static async #core(cluster: KubeCluster) {
    const { CoreV1Api } = await import('@kubernetes/client-node');
    return await cluster.api(CoreV1Api);
  }

  async create(pod: V1Pod): Promise<void> {
    await (await Namespace.#core(this.#cluster)).createNamespacedPod({ namespace: this.name, body: pod });
  }

  async read(name: string): Promise<V1Pod> {
    return await (await Namespace.#core(this.#cluster)).readNamespacedPod({ name, namespace: this.name });
  }

  async list(): Promise<V1Pod[]> {
    return (await (await Namespace.#core(this.#cluster)).listNamespacedPod({ namespace: this.name })).items;
  }

  /** Newest last. */
  async events(name: string): Promise<CoreV1Event[]> {
    const core = await Namespace.#core(this.#cluster);
    const fieldSelector = `involvedObject.name=${name}`;
    return (await core.listNamespacedEvent({ namespace: this.name, fieldSelector })).items;
  }

  /** Rejects at once, with what the kubelet said, where the pod has failed. */
  async untilReady(name: string, timeoutMs = READY_MS): Promise<V1Pod> {
    return await this.#until(name, 'is ready', timeoutMs, async ({ status }) => {
      if (status?.phase === 'Failed') throw new Hopeless(await this.#story(name));
      return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
    });
  }

  async untilPhase(name: string, phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed'): Promise<V1Pod> {
    return await this.#until(name, `is ${phase}`, READY_MS, async ({ status }) => status?.phase === phase);
  }

  /** The scheduler's reason for a pod that it finds no node for. */
  async untilUnschedulable(name: string): Promise<string> {
    let reason = '';
    await this.#until(name, 'is unschedulable', READY_MS, async ({ status }) => {
      const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
      reason = scheduled?.message ?? '';
      return scheduled?.reason === 'Unschedulable';
    });
    return reason;
  }

  async #until(name: string, what: string, timeoutMs: number, holds: (pod: V1Pod) => Promise<boolean>): Promise<V1Pod> {
    try {
      return await until(`pod ${name} ${what}`, timeoutMs, async () => {
        const pod = await this.read(name);
        return (await holds(pod)) ? pod : undefined;
      });
    } catch (err) {
      if (err instanceof Hopeless) throw err;
      throw new Error(`${String(err)}\n${await this.#story(name)}`, { cause: err });
    }
  }

  /** What a person would look at, the most telling first: what does not hold, what containers wait for, its events. */
  async #story(name: string): Promise<string> {
    const [{ status }, events] = await Promise.all([this.read(name), this.events(name)]);
    const missing = (status?.conditions ?? []).filter((one) => one.status !== 'True');
    const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
    return [
      `${name} is ${status?.phase}`,
      ...missing.map(({ type, reason = '', message = '' }) => `not ${type}: ${reason} ${message}`),
      ...containers.map(({ name, state }) => `container ${name}: ${JSON.stringify(state)}`),
      ...events.map(({ reason, message, count = 1 }) => `${reason} (${count}): ${message}`),
    ].join('\n');
  }

  /** What a command in the pod's first container writes. Rejects where it ends badly. */
  async exec(pod: string, ...command: readonly string[]): Promise<string> {
    return await this.execIn(pod, undefined, command);
  }

  async execIn(pod: string, container: string | undefined, command: readonly string[]): Promise<string> {
    const which = container === undefined ? [] : ['--container', container];
    return await this.#cluster.kubectl(['--namespace', this.name, 'exec', pod, ...which, '--', ...command]);
  }

  /** A variable of its environment; empty where it has none of this name. */
  async variable(pod: string, name: string): Promise<string> {
    return (await this.exec(pod, 'sh', '-c', `echo "$${name}"`)).trim();
  }

  async logs(pod: string, ...options: readonly string[]): Promise<string> {
    return await this.#cluster.kubectl(['--namespace', this.name, 'logs', pod, ...options]);
  }

  /** Resolves when it is gone, and with it what it held. */
  async remove(pod: string): Promise<void> {
    const core = await Namespace.#core(this.#cluster);
    await core.deleteNamespacedPod({ name: pod, namespace: this.name, gracePeriodSeconds: 0 });
    await this.#untilNoPods([pod]);
  }

  async #untilNoPods(names?: readonly string[]): Promise<void> {
    await until(`the end of the pods of ${this.name}`, END_MS, async () => {
      const left = (await this.list()).filter(({ metadata }) => names?.includes(metadata?.name ?? '') ?? true);
      return left.length === 0 ? true : undefined;
    });
  }

  /** Resolves when no pod of it holds anything any more. The rest of it goes on its own. */
  async [Symbol.asyncDispose](): Promise<void> {
    const core = await Namespace.#core(this.#cluster);
    await core.deleteCollectionNamespacedPod({ namespace: this.name, gracePeriodSeconds: 0 });
    await this.#untilNoPods();
    await core.deleteNamespace({ name: this.name });
  }
}
