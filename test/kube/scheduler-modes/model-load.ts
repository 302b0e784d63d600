import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { SeededRandom } from '../../../common/ports/index.ts';
import { until } from '../host/until.ts';
import type { FleetNode } from '../scale/fleet.ts';
import type { KubeApi } from '../scale/kube-api.ts';
import { podObject } from '../scale/objects.ts';

const CRD = new URL('../../../charts/nabustore/crds/localityreports.nabustore.io.yaml', import.meta.url);
const REPORTS = '/apis/nabustore.io/v1alpha1/localityreports';
const VALID_S = 3600;
const SERVED_MS = 30_000;
const SIZE_BYTES = 140e9;
const GPUS = 8;
/** docs/scheduler-extender.md, in GB/s: said once more here, so that what is measured is not measured by itself. */
const BYTES_PER_SECOND = { host: 20e9, rail: 12e9, rack: 8e9, zone: 4e9, far: 0.5e9 };

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
    await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', parse(await readFile(CRD, 'utf8')));
    const held = new Map<string, Set<string>>();
    for (const [at, holders] of this.#holders.entries()) {
      for (const { name } of holders) held.set(name, (held.get(name) ?? new Set()).add(`model-${at}`));
    }
    const reportedAt = new Date().toISOString();
    const reports = [...held].map(([name, ids]) => {
      const contents = [...ids].map((id) => {
        return { kind: 'Model', id, sizeBytes: SIZE_BYTES, cachedBytes: SIZE_BYTES };
      });
      const spec = { reportedAt, validSeconds: VALID_S, contents };
      return { apiVersion: 'nabustore.io/v1alpha1', kind: 'LocalityReport', metadata: { name }, spec };
    });
    await untilServed(api);
    await api.createAll(reports.map((report) => [REPORTS, report]));
  }

  /** Models of so many pods: the n-th is asked for 1/n as often as the first. */
  models(pods: number): number[] {
    const weights = this.#holders.map((_, at) => 1 / (at + 1));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return Array.from({ length: pods }, () => {
      let left = this.#random.float() * sum;
      const found = weights.findIndex((weight) => {
        left -= weight;
        return left < 0;
      });
      return Math.max(found, 0);
    });
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
  const speeds = holders.map(({ name, zone, rack, rail }) => {
    if (name === node.name) return BYTES_PER_SECOND.host;
    if (zone !== node.zone) return BYTES_PER_SECOND.far;
    if (rail === node.rail) return BYTES_PER_SECOND.rail;
    return rack === node.rack ? BYTES_PER_SECOND.rack : BYTES_PER_SECOND.zone;
  });
  return SIZE_BYTES / Math.max(BYTES_PER_SECOND.far, ...speeds);
}

async function untilServed(api: KubeApi): Promise<void> {
  await until('the resource is served', SERVED_MS, () => api.get(REPORTS));
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
