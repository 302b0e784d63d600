import { SeededRandom } from '../../../common/ports/index.ts';
import type { Chart } from '../chart.ts';
import { Plane } from '../plane/plane.ts';
import { FLEET, makeFleet } from '../scale/fleet.ts';
import { CLAIMS, makeClass, PODS } from '../scale/objects.ts';
import { bestOf, loadSeconds, Occupancy } from '../scale/oracle.ts';
import { Site } from '../scale/site.ts';
import { StorageSide } from '../scale/storage-side.ts';
import { type Mix, newVolumesGib, type WorkPod, workload } from '../scale/workload.ts';
import { Bindings, removePods } from './bindings.ts';
import { ChartInstall } from './chart-install.ts';

const GIB = 2 ** 30;
const CLASS = 'late';
/** What the webhook says of what it has written. */
const PLACEMENT = 'nabustore.io/placement';
const MARKER = 'nabustore.io/locality';
/** ec:4+2, and of the raw bytes nine tenths may be promised; volumes of two runs, and some room. */
const RAW_PER_GIB = (1.5 / 0.9) * 2 * 1.1 * GIB;
const PLACED_MS = 200_000;
const GONE_MS = 60_000;
const SITE_SEED = 20_261_122;
const PODS_SEED = 5;

export type Placed = {
  /** Seconds that pods of ours load for, where they are, as a part of those at the best node of all, less one. */
  readonly regret: number;
  /** On nodes that are full, or have an attachment too many. */
  readonly overcommitted: readonly string[];
  /** On nodes that reach no storage. */
  readonly cutOff: readonly string[];
  /** That read a model and were made without the webhook: the API server does not wait for it for ever. */
  readonly unseen: readonly string[];
  readonly bestNodes: number;
  readonly ours: number;
};

type Binding = { readonly pod: string; readonly node: string };
type MadePod = { readonly metadata: { readonly name: string; readonly annotations?: Record<string, string> } };

function unseenOf(pods: readonly MadePod[]): string[] {
  const reads = pods.filter(({ metadata }) => metadata.annotations?.['nabustore.io/models'] !== undefined);
  const unseen = reads.filter(({ metadata }) => metadata.annotations?.[PLACEMENT] === undefined);
  return unseen.map(({ metadata }) => metadata.name);
}

/** Five thousand nodes, storage and models, on which the same pods are placed in one mode of the chart after another. */
export class ModesSite {
  readonly plane: Plane;
  readonly #site: Site;
  readonly #side: StorageSide;
  readonly #mix: Mix;

  private constructor(plane: Plane, site: Site, side: StorageSide, mix: Mix) {
    this.plane = plane;
    this.#site = site;
    this.#side = side;
    this.#mix = mix;
  }

  static async start(mix: Mix): Promise<ModesSite> {
    const rawBytes = newVolumesGib(mix) * RAW_PER_GIB;
    const site = new Site({ random: new SeededRandom(SITE_SEED), shape: FLEET, rawBytes });
    const plane = await Plane.start({ fleet: true });
    try {
      await makeFleet(plane.api, site.fleet, { attachLimit: site.attachLimit });
      const side = await StorageSide.start(plane, site.storage);
      await makeClass(plane.api, CLASS);
      await site.report(plane.api);
      return new ModesSite(plane, site, side, mix);
    } catch (err) {
      await plane.stop();
      throw err;
    }
  }

  /** What the chart makes of these values, knowing the storage of this site. */
  async install(chart: Chart, values: object): Promise<ChartInstall> {
    const given: unknown = Reflect.get(values, 'schedulerExtender');
    const schedulerExtender = { ...Object(given), control: this.#side.control };
    const install = await ChartInstall.start(this.plane, chart, { ...values, schedulerExtender });
    await install.untilAsked();
    return install;
  }

  /** The pods as their users write them: the same each time but for their names. Takes them away when they have been judged. */
  async run(prefix: string): Promise<Placed> {
    const { api } = this.plane;
    const pods = this.#pods(prefix);
    const bindings = await Bindings.follow(api);
    try {
      await api.createAll(pods.flatMap(({ claims }) => claims.map((claim) => [CLAIMS, claim] as const)));
      await api.createAll(pods.map(({ object }) => [PODS, unmarked(object)] as const));
      // A pod whose claim waits for it gets its node when its volume has been made.
      await bindings.untilBound(pods.length, PLACED_MS);
      const unseen = unseenOf((await api.list(PODS)) as readonly MadePod[]);
      return { ...this.#judged(pods, [...bindings.all.values()]), unseen };
    } finally {
      await bindings.stop();
      await removePods(api, GONE_MS);
    }
  }

  async stop(): Promise<void> {
    await this.#side.stop();
    await this.plane.stop();
  }

  #pods(prefix: string): readonly WorkPod[] {
    return workload({
      site: this.#site,
      random: new SeededRandom(PODS_SEED),
      mix: this.#mix,
      prefix,
      bound: [],
      anchors: [],
      className: CLASS,
      schedulerName: undefined,
    });
  }

  /** One after another, in the order in which they were bound. */
  #judged(pods: readonly WorkPod[], order: readonly Binding[]): Omit<Placed, 'unseen'> {
    const occupancy = new Occupancy();
    const [overcommitted, cutOff]: [string[], string[]] = [[], []];
    let [seconds, bestSeconds, bestNodes, ours] = [0, 0, 0, 0];
    const byName = new Map(pods.map((pod) => [pod.name, pod]));
    for (const { pod: name, node: nodeName } of order) {
      const pod = byName.get(name);
      const node = this.#site.nodes.get(nodeName);
      if (pod === undefined || node === undefined) continue;
      const refusal = occupancy.refuses(pod.oracle, { ...node, reachesStorage: true });
      if (refusal !== undefined) overcommitted.push(`${name} is on ${nodeName}, and ${refusal}`);
      if (pod.isOurs) {
        if (!node.reachesStorage) cutOff.push(name);
        const best = bestOf(pod.oracle, this.#site.nodes.values(), occupancy);
        const taken = loadSeconds(node, pod.oracle.readings);
        ours++;
        seconds += taken;
        bestSeconds += best?.seconds ?? Number.NaN;
        if (best !== undefined && taken <= best.seconds * 1.01) bestNodes++;
      }
      occupancy.place(pod.oracle, node);
    }
    return { regret: seconds / bestSeconds - 1, overcommitted, cutOff, bestNodes, ours };
  }
}

/** Without what the webhook adds. */
function unmarked(object: unknown): unknown {
  const pod = structuredClone(object) as {
    spec: { containers: { resources: { limits: Record<string, string>; requests: Record<string, string> } }[] };
  };
  for (const { resources } of pod.spec.containers) {
    for (const amounts of [resources.limits, resources.requests]) delete amounts[MARKER];
  }
  return pod;
}
