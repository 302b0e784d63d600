import { join } from 'node:path';
import { Deadline } from '../../common/concurrency/index.ts';
import { type Layout, layoutOf } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { ControlClient } from '../../engine/control/index.ts';
import type { LoadRequest, LoadResult } from './load/load.ts';
import { Child, cpuSecondsOf, ROOT } from './process.ts';
import type { Bench } from './provider.ts';

const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
const CALL_TIMEOUT_MS = 5_000;
const WARM_UP_BLOBS = 24_000;
const WARM_UP_BYTES = 16 * 1024;

export type ClusterOptions = {
  readonly driver: 'uring' | 'memory';
  readonly deviceSizeBytes: number;
  readonly nodes?: number;
};

/** Control and real stor-node processes over a fresh folder on a disk, as `nabu up` starts them. */
export class Cluster {
  readonly layout: Layout;
  readonly #bench: Bench;
  readonly nodes: readonly Child[];

  private constructor(bench: Bench, layout: Layout, nodes: readonly Child[]) {
    this.#bench = bench;
    this.layout = layout;
    this.nodes = nodes;
  }

  static async start(bench: Bench, options: ClusterOptions): Promise<Cluster> {
    const layout = layoutOf(await bench.scope.folder());
    const count = options.nodes ?? 6;
    const nabu = async (...args: [string, ...string[]]): Promise<Child> =>
      await Child.start(bench.scope, [join(ROOT, 'nabu'), ...args, '--dir', layout.dir]);
    const running = [await nabu('control', '--log-level', 'warn')];
    await until(running, async (control) => (await control.health({ timeoutMs: CALL_TIMEOUT_MS })).ready, layout);
    const nodes: Child[] = [];
    for (let i = 1; i <= count; i++) {
      const device = ['--driver', options.driver, '--device-size-bytes', String(options.deviceSizeBytes)];
      nodes.push(await nabu('stor', '--node-id', `node-${i}`, ...device, '--log-level', 'warn'));
    }
    const allUp = async (control: ControlClient): Promise<boolean> => {
      const { nodes: known } = await control.getMap({ timeoutMs: CALL_TIMEOUT_MS });
      return known.filter(({ state }) => state === 'up').length === count;
    };
    await until([...running, ...nodes], allUp, layout);
    return new Cluster(bench, layout, nodes);
  }

  get nodePids(): number[] {
    return this.nodes.map(({ pid }) => pid);
  }

  /** CPU seconds of all storage nodes so far. */
  nodeCpuSeconds(): number {
    return this.nodePids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  }

  /** The blob client in a process of its own. */
  async load(policy: string, blobBytes: number, inFlight: number): Promise<Load> {
    const program = join(import.meta.dirname, 'load/main.ts');
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', ...loadFlags()] as const;
    const child = await Child.start(this.#bench.scope, [
      ...node,
      ...[program, this.layout.dir, policy, String(blobBytes), String(inFlight)],
    ]);
    await child.line();
    return new Load(child, this);
  }
}

/** E.g. --cpu-prof --cpu-prof-dir=/tmp/profile: where the client's time goes. */
function loadFlags(): string[] {
  return (process.env.NABU_BENCH_LOAD_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
}

export type MeasuredLoad = LoadResult & {
  /** Of the client and all storage nodes. */
  readonly cpuSecondsOfAll: number;
};

/** A blob client that does what it is told, warm between calls. */
export class Load {
  readonly #child: Child;
  readonly #cluster: Cluster;

  constructor(child: Child, cluster: Cluster) {
    this.#child = child;
    this.#cluster = cluster;
  }

  /** Until client and nodes run compiled code: some ten thousand small blobs, written and read. */
  async warmUp(): Promise<void> {
    const request = { series: 'warm-up', count: WARM_UP_BLOBS, inFlight: 16, blobBytes: WARM_UP_BYTES };
    await this.run({ ...request, op: 'put' });
    await this.run({ ...request, op: 'get' });
  }

  async run(request: LoadRequest): Promise<MeasuredLoad> {
    const before = this.#cluster.nodeCpuSeconds();
    const result = JSON.parse(await this.#child.ask(JSON.stringify(request))) as LoadResult;
    return { ...result, cpuSecondsOfAll: result.cpuSeconds + this.#cluster.nodeCpuSeconds() - before };
  }
}

/** Asks control until it says yes; a process that dies meanwhile is told of with its last words. */
async function until(
  processes: readonly Child[],
  answers: (control: ControlClient) => Promise<boolean>,
  layout: Layout,
): Promise<void> {
  using deadline = new Deadline({ clock: realClock, operation: 'starting the cluster', timeoutMs: READY_TIMEOUT_MS });
  const control = new ControlClient({ kind: 'unix', path: layout.controlSocket });
  try {
    while (!(await answers(control).catch(() => false))) {
      for (const process of processes) process.throwIfEnded();
      await realClock.sleep(POLL_MS, deadline.signal);
    }
  } finally {
    control.close();
  }
}
