import { join } from 'node:path';
import { freePorts } from '../kube/cluster/ports.ts';
import { Plane } from '../kube/plane/plane.ts';
import { FLEET, fleetOf, makeFleet } from '../kube/scale/fleet.ts';
import { PODS } from '../kube/scale/objects.ts';
import { Bindings, removePods } from '../kube/scheduler-modes/bindings.ts';
import { ModelLoad } from '../kube/scheduler-modes/model-load.ts';
import { get } from '../support/extender/served.ts';
import { Child, cpuSecondsOf, ROOT } from './process.ts';
import { type Bench, Missing } from './provider.ts';

const WAIT_MS = 240_000;
const READY_MS = 120_000;
const NODE: readonly [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** Pods a second, and the scheduler's own CPU for each: a machine that is busy otherwise slows the first down and not the second. */
export type Placed = { readonly perSecond: number; readonly cpuMs: number };

/** A real kube-scheduler over thousands of simulated nodes, for the pods a second that it places. */
export class SchedulerRate {
  readonly load: ModelLoad;
  readonly #plane: Plane;
  readonly #bench: Bench;

  private constructor(plane: Plane, load: ModelLoad, bench: Bench) {
    this.#plane = plane;
    this.load = load;
    this.#bench = bench;
  }

  /** Throws Missing where the programs of a cluster are not there. */
  static async start(bench: Bench): Promise<SchedulerRate> {
    const missing = await Plane.missing({ fleet: true });
    if (missing !== '') throw new Missing(missing);
    const plane = await Plane.start({ fleet: true });
    bench.scope.defer('the control plane', () => plane.stop());
    const fleet = fleetOf(FLEET);
    bench.progress(`making ${fleet.length} nodes`);
    await makeFleet(plane.api, fleet);
    const load = new ModelLoad(fleet, { models: 40, mostHolders: 60, seed: 7 });
    await load.report(plane.api);
    return new SchedulerRate(plane, load, bench);
  }

  /** `nabu scheduler-extender` as a process, ready; its port. */
  async startOurs(): Promise<number> {
    const { listen, health } = await freePorts(['listen', 'health']);
    const where = ['--listen', `127.0.0.1:${listen}`, '--health', `127.0.0.1:${health}`, '--log-level', 'error'];
    // A scheduler of a benchmark is patient: on a busy machine a refusal would count as speed.
    const flags = ['--kubeconfig', this.#plane.kubeconfig, ...where, '--answer-within-ms', '5000'];
    const program = [join(ROOT, 'cli/main.ts'), 'scheduler-extender'];
    const child = await Child.start(this.#bench.scope, [...NODE, ...program, ...flags]);
    const untilMs = performance.now() + READY_MS;
    for (let status = 0; status !== 200; ) {
      child.throwIfEnded();
      if (performance.now() > untilMs) throw new Error('the extender was not ready in time');
      await new Promise((resolve) => setTimeout(resolve, 100));
      const answer = await get(health, '/readyz').catch(() => undefined);
      status = answer?.status ?? 0;
    }
    return listen;
  }

  /** The same HTTP server with a handler that lets all nodes pass and scores none; its port. */
  async startDoNothing(): Promise<number> {
    const child = await Child.start(this.#bench.scope, [...NODE, join(ROOT, 'test/bench/peers/extender.ts'), 'pass']);
    return Number(await child.line());
  }

  /** Calls that an extender of ours has answered, of all verbs and outcomes. */
  static async calls(port: number): Promise<number> {
    const { text } = await get(port, '/metrics');
    const counts = [...text.matchAll(/^nabu_extender_request_seconds_count\{[^}]*\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /**
   * Pods a second from the first binding to the last of pods that all wait when the scheduler starts. OpportunisticBatching is off: it
   * would place pods that look alike without asking.
   */
  async place(objects: readonly unknown[], extenderPort: number | undefined): Promise<Placed> {
    const { api } = this.#plane;
    await api.createAll(objects.map((object) => [PODS, object] as const));
    const bindings = await Bindings.follow(api);
    let cpuMs = Number.NaN;
    try {
      await this.#plane.startScheduler({
        featureGates: { OpportunisticBatching: false },
        ...(extenderPort === undefined ? {} : { port: extenderPort }),
      });
      const pid = this.#plane.children.pid('kube-scheduler');
      await bindings.untilBound(1, WAIT_MS);
      const [bound, beforeS] = [bindings.all.size, pid === undefined ? Number.NaN : cpuSecondsOf(pid)];
      await bindings.untilBound(objects.length, WAIT_MS);
      const spentS = pid === undefined ? Number.NaN : cpuSecondsOf(pid) - beforeS;
      cpuMs = (spentS * 1000) / (objects.length - bound);
    } finally {
      await bindings.stop();
      await this.#plane.stopScheduler();
    }
    const times = [...bindings.all.values()].map(({ atMs }) => atMs);
    await removePods(api, WAIT_MS);
    return { perSecond: ((times.length - 1) * 1000) / (Math.max(...times) - Math.min(...times)), cpuMs };
  }
}
