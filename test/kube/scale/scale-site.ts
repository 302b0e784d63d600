import { SeededRandom } from '../../../common/ports/index.ts';
import { until } from '../host/until.ts';
import { Plane } from '../plane/plane.ts';
import type { SchedulerSetup } from '../plane/scheduler-configuration.ts';
import { ExtenderProcess } from '../scheduler/extender-process.ts';
import { FLEET, type FleetShape, makeFleet } from './fleet.ts';
import { judge, type Verdict } from './judge.ts';
import { CLAIMS, claimObject, makeClass, PODS, podObject } from './objects.ts';
import { Offers } from './offers.ts';
import { Occupancy, type OracleNode } from './oracle.ts';
import { PodWatch } from './pod-watch.ts';
import { Site } from './site.ts';
import { StorageSide } from './storage-side.ts';
import { type Anchor, type BoundVolume, type Mix, newVolumesGib, type WorkPod, workload } from './workload.ts';

const GIB = 2 ** 30;
/** ec:4+2 */
const RAW_PER_BYTE = 1.5;
const SHARDS = 6;
const DATA_SHARDS = 4;
/** engine/control: of the raw bytes so many may be promised. */
const PROMISED = 0.9;
const SPARE = 1.02;
const ANCHORS = 20;
const BOUND_GIB = 100;
const BOUND_MS = 120_000;
const PLACED_MS = 240_000;
const GONE_MS = 60_000;
/** A pod's claim is made when the pod is placed, or at once. */
const LATE = 'late';
const AT_ONCE = 'at-once';

export type ScaleSiteOptions = {
  readonly seed: number;
  readonly shape?: FleetShape;
  /** Of the largest run. */
  readonly mix: Mix;
  /** Volumes stay after a run: how many runs there is room for. */
  readonly runs?: number;
};

export type RunOptions = {
  readonly mix: Mix;
  /** Whom the scheduler asks is filled in. */
  readonly setup?: Omit<SchedulerSetup, 'port'>;
  /** Of names: no two runs may share it. */
  readonly prefix: string;
  /** What pods of ours name; left out: the default one. */
  readonly schedulerName?: string;
};

export type Run = Verdict & {
  readonly pods: readonly WorkPod[];
  /** From the first pod that was made to the last that was bound. */
  readonly seconds: number;
  readonly calls: number;
  /** Names of pods that the scheduler asked about, as often as it did. */
  readonly asked: readonly string[];
};

type ClaimObject = { readonly metadata: { readonly name: string }; readonly spec: { readonly volumeName?: string } };

/** A site of thousands of nodes with an extender, control, our driver and the official provisioner, for bursts of pods. */
export class ScaleSite {
  readonly plane: Plane;
  readonly site: Site;
  readonly #random: SeededRandom;
  #side: StorageSide | undefined;
  #extender: ExtenderProcess | undefined;
  #bound: readonly BoundVolume[] = [];
  #anchors: readonly (Anchor & { readonly node: OracleNode })[] = [];

  private constructor(plane: Plane, site: Site, random: SeededRandom) {
    this.plane = plane;
    this.site = site;
    this.#random = random;
  }

  static async start({ seed, shape = FLEET, mix, runs = 1 }: ScaleSiteOptions): Promise<ScaleSite> {
    const random = new SeededRandom(seed);
    const volumesGib = newVolumesGib(mix) * runs + (mix.bound + ANCHORS) * BOUND_GIB;
    const rawBytes = (volumesGib * GIB * RAW_PER_BYTE * SPARE) / PROMISED;
    const site = new Site({ random, shape, rawBytes });
    const scale = new ScaleSite(await Plane.start({ fleet: true }), site, random);
    try {
      await scale.#prepare(mix.bound);
      return scale;
    } catch (err) {
      await scale.stop();
      throw err;
    }
  }

  get side(): StorageSide {
    if (this.#side === undefined) throw new Error('there is no storage yet');
    return this.#side;
  }

  get extender(): ExtenderProcess {
    if (this.#extender === undefined) throw new Error('there is no extender yet');
    return this.#extender;
  }

  /** A scheduler of its own, all pods at once, and a look back when all of them have nodes. */
  async run({ mix, setup = {}, prefix, schedulerName }: RunOptions): Promise<Run> {
    const { api } = this.plane;
    const pods = workload({
      site: this.site,
      random: this.#random,
      mix,
      prefix,
      bound: this.#bound,
      anchors: this.#anchors,
      className: LATE,
      schedulerName,
    });
    const offers = await Offers.start(this.extender.port);
    const watch = await PodWatch.start(api);
    try {
      await this.plane.startScheduler({ ...setup, port: offers.port });
      const startMs = performance.now();
      await api.createAll(pods.flatMap(({ claims }) => claims.map((claim) => [CLAIMS, claim] as const)));
      await api.createAll(pods.map(({ object }) => [PODS, object] as const));
      const isPlaced = (name: string): boolean => watch.pods.get(name)?.phase === 'Running';
      await watch.until('all pods run', PLACED_MS, () => pods.every(({ name }) => isPlaced(name)));
      const lastMs = Math.max(...pods.map(({ name }) => watch.pods.get(name)?.boundMs ?? 0));
      const placed = new Map([...watch.pods.values()].map(({ name, node }) => [name, node]));
      const occupancy = this.#occupancy();
      const list = offers.list();
      const verdict = judge({ nodes: this.site.nodes, offers: list, placed, pods, occupancy });
      const asked = list.map(({ podName }) => podName);
      return { ...verdict, pods, seconds: (lastMs - startMs) / 1000, calls: offers.calls, asked };
    } finally {
      await this.plane.stopScheduler(setup.name);
      await watch.stop();
      await offers.close();
    }
  }

  /** Takes the pods of a run away; their volumes stay. */
  async clear({ pods }: Run): Promise<void> {
    const { api } = this.plane;
    await Promise.all(pods.map(({ name }) => api.remove(`${PODS}/${name}`)));
    await until('the pods are gone', GONE_MS, async () => {
      const left = await api.list(PODS);
      return left.length <= this.#anchors.length ? true : undefined;
    });
  }

  async stop(): Promise<void> {
    await this.#extender?.stop();
    await this.#side?.stop();
    await this.plane.stop();
  }

  async #prepare(bound: number): Promise<void> {
    const { plane, site } = this;
    await makeFleet(plane.api, site.fleet, { attachLimit: site.attachLimit });
    this.#side = await StorageSide.start(plane, site.storage);
    await makeClass(plane.api, LATE);
    await makeClass(plane.api, AT_ONCE, { immediate: true });
    await this.#makeVolumes(bound);
    await site.report(plane.api);
    this.#extender = await ExtenderProcess.start(plane.kubeconfig, '--control', this.side.control);
    await this.#extender.untilReady();
  }

  async #makeVolumes(count: number): Promise<void> {
    const { api } = this.plane;
    const names = Array.from({ length: count + ANCHORS }, (_, at) => `vol-${at}`);
    await api.createAll(names.map((name) => [CLAIMS, claimObject(name, `${BOUND_GIB}Gi`, AT_ONCE)]));
    const claims = await until('the first volumes are there', BOUND_MS, async () => {
      const found = (await api.list(CLAIMS)) as readonly ClaimObject[];
      return found.every(({ spec }) => spec.volumeName !== undefined) ? found : undefined;
    });
    const records = new Map((await this.side.volumes()).map((record) => [record.name, record]));
    const volumes = claims.map(({ metadata: { name: claim }, spec }): BoundVolume => {
      const { homeSet = [], sizeBytes = 0n } = records.get(spec.volumeName ?? '') ?? {};
      const parts = this.site.partsOn(homeSet, SHARDS / DATA_SHARDS / homeSet.length);
      return { claim, sizeBytes: Number(sizeBytes), parts };
    });
    this.#bound = volumes.slice(ANCHORS);
    await this.#makeAnchors(volumes.slice(0, ANCHORS).map(({ claim }) => claim));
  }

  /** Pods that are on their nodes already, for others to be near to. */
  async #makeAnchors(claims: readonly string[]): Promise<void> {
    const possible = [...this.site.nodes.values()].filter(({ reachesStorage }) => reachesStorage);
    const step = Math.floor(possible.length / claims.length);
    this.#anchors = claims.flatMap((claim, at) => {
      const node = possible[at * step];
      return node === undefined ? [] : [{ claim, node, part: { ...node, share: 1, host: node.name } }];
    });
    await this.plane.api.createAll(
      this.#anchors.map(({ claim, node }) => {
        return [PODS, podObject(`anchor-${claim}`, { claims: [claim], node: node.name, stranger: true })];
      }),
    );
  }

  #occupancy(): Occupancy {
    const occupancy = new Occupancy();
    for (const { claim, node } of this.#anchors) {
      const asks = { cpu: 0.1, memory: 128 * 2 ** 20, gpu: 0, pods: 1 };
      occupancy.place({ name: `anchor-${claim}`, asks, volumes: 1, readings: [] }, node);
    }
    return occupancy;
  }
}
