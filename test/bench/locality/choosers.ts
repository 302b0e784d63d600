import { realClock, type SeededRandom } from '../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../scheduler-extender/decide/index.ts';
import { Reservations } from '../../../scheduler-extender/reservations/index.ts';
import { SHIPPED } from './constants.ts';
import { defaultScores, feasibleToFind, MAX_NODE_SCORE, oneOfTheBest } from './default-scores.ts';
import type { EventQueue } from './event-queue.ts';
import { Knowledge, podOf } from './knowledge.ts';
import type { ServingPod } from './workload.ts';
import type { Cost, GpuNode, World } from './world.ts';

export type Policy = 'default' | 'ours' | 'oracle-seconds' | 'oracle-cross-rack';

export type Chooser = {
  /** Undefined: no node fits. */
  choose(pod: ServingPod): GpuNode | undefined;
};

/** extender/v1, MaxExtenderPriority. */
const MAX_EXTENDER_PRIORITY = 10;

/** The scheduler's walk over the nodes: from where it stopped last, until it has found enough that fit. */
class Sampler {
  readonly #world: World;
  /** GPU nodes among the storage nodes, which never fit. */
  readonly #order: readonly (GpuNode | undefined)[];
  readonly #enough: number;
  #from = 0;

  constructor(world: World, percentage: number, random: SeededRandom) {
    const storage = Array.from({ length: world.racks * world.size.storagePerRack }, () => undefined);
    const all: (GpuNode | undefined)[] = [...world.nodes, ...storage];
    for (let at = all.length - 1; at > 0; at--) {
      const other = Math.floor(random.float() * (at + 1));
      [all[at], all[other]] = [all[other], all[at]];
    }
    this.#world = world;
    this.#order = all;
    this.#enough = feasibleToFind(all.length, percentage);
  }

  get all(): readonly GpuNode[] {
    return this.#world.nodes;
  }

  candidates(pod: ServingPod): GpuNode[] {
    const found: GpuNode[] = [];
    let looked = 0;
    for (; looked < this.#order.length && found.length < this.#enough; looked++) {
      const node = this.#order[(this.#from + looked) % this.#order.length];
      if (node?.fits(pod) === true) found.push(node);
    }
    this.#from = (this.#from + looked) % this.#order.length;
    return found;
  }
}

function byDefault(world: World, random: SeededRandom): Chooser {
  const sampler = new Sampler(world, 0, random.fork());
  return {
    choose(pod) {
      const candidates = sampler.candidates(pod);
      return oneOfTheBest(candidates, defaultScores(sampler.all, candidates, pod), random);
    },
  };
}

/** The same, and the extender's real filter and prioritize from bytes to bytes, beside what the default plugins say. */
function byOurs(world: World, queue: EventQueue, random: SeededRandom): Chooser {
  const sampler = new Sampler(world, SHIPPED.percentageOfNodesToScore, random.fork());
  const { index } = new Knowledge(world, queue, random.fork());
  const extender = new Extender({ index, reservations: new Reservations(realClock), rules: DEFAULT_RULES });
  const ask = (pod: ServingPod, names: readonly string[]): Buffer =>
    Buffer.from(JSON.stringify({ Pod: podOf(pod), Nodes: null, NodeNames: names }));
  return {
    choose(pod) {
      const fitting = sampler.candidates(pod);
      if (fitting.length === 0) return undefined;
      const named = new Map(fitting.map((node) => [node.name, node]));
      const { answer } = extender.filter(ask(pod, [...named.keys()]));
      const { NodeNames: passed } = JSON.parse(answer.toString()) as { NodeNames: string[] };
      const candidates = passed.flatMap((name) => named.get(name) ?? []);
      if (candidates.length <= 1) return candidates[0]; // a scheduler does not ask for the order of one
      const prioritized = extender.prioritize(ask(pod, passed)).toString();
      const priorities = JSON.parse(prioritized) as { Host: string; Score: number }[];
      const points = new Map(priorities.map(({ Host, Score }) => [Host, Score]));
      const scale = SHIPPED.weight * (MAX_NODE_SCORE / MAX_EXTENDER_PRIORITY);
      const scores = defaultScores(sampler.all, candidates, pod).map(
        (score, at) => score + scale * (points.get(candidates[at]?.name ?? '') ?? 0),
      );
      return oneOfTheBest(candidates, scores, random);
    },
  };
}

/** Sees the world as it is at this very moment, all of it. Of nodes that are as good it takes what the default plugins prefer. */
function byOracle(world: World, queue: EventQueue, random: SeededRandom, of: (cost: Cost) => number): Chooser {
  return {
    choose(pod) {
      const candidates = world.nodes.filter((node) => node.fits(pod));
      const costOf = world.costs(pod.model, queue.nowS);
      const costs = candidates.map((node) => of(costOf(node)));
      const least = Math.min(...costs);
      const best = candidates.filter((_, at) => (costs[at] ?? 0) <= least);
      return oneOfTheBest(best, defaultScores(world.nodes, best, pod), random);
    },
  };
}

export function chooserOf(policy: Policy, world: World, queue: EventQueue, random: SeededRandom): Chooser {
  if (policy === 'default') return byDefault(world, random);
  if (policy === 'ours') return byOurs(world, queue, random);
  // Bytes first; what is left of the order is the seconds', far below one byte.
  const crossRack = ({ crossRackBytes, seconds }: Cost): number => crossRackBytes + seconds * 1e-6;
  return byOracle(world, queue, random, policy === 'oracle-seconds' ? ({ seconds }) => seconds : crossRack);
}
