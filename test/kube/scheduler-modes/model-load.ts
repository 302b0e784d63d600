import { SeededRandom } from '../../../common/ports/index.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import type { FleetNode } from '../scale/fleet.ts';
import { publishReports } from '../scale/locality-reports.ts';
import { podObject } from '../scale/objects.ts';
import { loadSeconds } from '../scale/oracle.ts';
import { Zipf } from '../scale/workload.ts';

const SIZE_BYTES = 140e9;
const GPUS = 8;

export type LoadShape = {
  readonly models: number;
  /** Nodes that have the most popular one; the next has half as many, then a third. */
  readonly mostHolders: number;
  readonly seed: number;
};

/** Models of 140 GB in the caches of some nodes, and pods that read one each, as popular as it is cached. */
export class ModelLoad {
  readonly #holders: readonly (readonly FleetNode[])[];
  readonly #seconds: readonly ReadonlyMap<string, number>[];
  readonly #random: SeededRandom;

  constructor(fleet: readonly FleetNode[], { models, mostHolders, seed }: LoadShape) {
    this.#random = new SeededRandom(seed);
    this.#holders = Array.from({ length: models }, (_, at) => {
      const count = Math.max(1, Math.round(mostHolders / (at + 1)));
      return Array.from({ length: count }, () => this.#pick(fleet));
    });
    this.#seconds = this.#holders.map((holders) => new Map(fleet.map((node) => [node.name, secondsTo(node, holders)])));
  }

  /** What every node with a cache reports, and the resource for it. */
  async report(api: KubeApi): Promise<void> {
    const held = new Map<string, Set<string>>();
    for (const [at, holders] of this.#holders.entries()) {
      for (const { name } of holders) held.set(name, (held.get(name) ?? new Set()).add(`model-${at}`));
    }
    const contentsOf = (ids: Set<string>): object[] =>
      [...ids].map((id) => ({ kind: 'Model', id, sizeBytes: SIZE_BYTES, cachedBytes: SIZE_BYTES }));
    await publishReports(api, new Map([...held].map(([name, ids]) => [name, { contents: contentsOf(ids) }])));
  }

  /** Models of so many pods: the n-th is asked for 1/n as often as the first. */
  models(pods: number): number[] {
    const popular = new Zipf([...this.#holders.keys()], 1);
    return Array.from({ length: pods }, () => popular.pick(this.#random) ?? 0);
  }

  /** For each pod in turn the best node with a free GPU, when all before it are where this says. */
  best(models: readonly number[]): string[] {
    const used = new Map<string, number>();
    return models.map((model) => {
      let [best, bestS] = ['', Number.POSITIVE_INFINITY];
      for (const [name, time] of this.#seconds[model] ?? []) {
        if (time < bestS && (used.get(name) ?? 0) < GPUS) [best, bestS] = [name, time];
      }
      used.set(best, (used.get(best) ?? 0) + 1);
      return best;
    });
  }

  /** Seconds that the pods take to load where they are, and where the best node with a free GPU was when each was placed. */
  regret(placed: readonly { readonly model: number; readonly node: string }[]): { takenS: number; bestS: number } {
    const used = new Map<string, number>();
    let takenS = 0;
    let bestS = 0;
    for (const { model, node } of placed) {
      const seconds = this.#seconds[model] ?? new Map<string, number>();
      let best = Number.POSITIVE_INFINITY;
      for (const [name, time] of seconds) if (time < best && (used.get(name) ?? 0) < GPUS) best = time;
      takenS += seconds.get(node) ?? Number.NaN;
      bestS += best;
      used.set(node, (used.get(node) ?? 0) + 1);
    }
    return { takenS, bestS };
  }

  #pick(fleet: readonly FleetNode[]): FleetNode {
    const node = fleet[this.#random.uint32() % fleet.length];
    if (node === undefined) throw new RangeError('no nodes');
    return node;
  }
}

/** From the nearest that has it, whole. */
function secondsTo(node: FleetNode, holders: readonly FleetNode[]): number {
  const parts = holders.map((holder) => ({ ...holder, share: 1, host: holder.name }));
  return loadSeconds({ ...node, linkLoad: 0, linkGbps: undefined }, [{ bytes: SIZE_BYTES, parts }]);
}

export type ServingPod = { readonly name: string; readonly model: number };

/** One GPU and one model each. `marked`: as the webhook leaves it for a scheduler that asks. */
export function servingPod(
  { name, model }: ServingPod,
  given: { readonly marked: boolean; readonly schedulerName?: string; readonly locality?: string },
): unknown {
  const { marked, schedulerName, locality = 'preferred' } = given;
  return podObject(name, {
    annotations: { 'nabustore.io/models': `model-${model}`, 'nabustore.io/locality': locality },
    resources: { cpu: '4', memory: '8Gi', 'nvidia.com/gpu': '1' },
    stranger: !marked,
    ...(schedulerName === undefined ? {} : { schedulerName }),
  });
}
