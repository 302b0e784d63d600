import { SeededRandom } from '../../../common/ports/index.ts';
import { chooserOf, type Policy } from './choosers.ts';
import { BACKGROUND, type ClusterSize, PODS, WARM_UP_PODS } from './constants.ts';
import { EventQueue } from './event-queue.ts';
import { arrivals, catalogue, type ServingPod } from './workload.ts';
import { World } from './world.ts';

/** Means over the pods that count. */
export type Outcome = {
  readonly loadSeconds: number;
  readonly crossRackBytes: number;
  /** From arrival to the node, for want of GPUs. */
  readonly waitSeconds: number;
};

/** One scheduler in a world of its own: the same seed gives each the same pods, nodes and weather. */
export function simulate(size: ClusterSize, policy: Policy, seed: number): Outcome {
  const random = new SeededRandom(seed);
  const [ofWorld, ofModels, ofPods, ofChoices] = [random.fork(), random.fork(), random.fork(), random.fork()];
  const queue = new EventQueue();
  const world = new World(size, ofWorld);
  const chooser = chooserOf(policy, world, queue, ofChoices);
  const sums = { loadSeconds: 0, crossRackBytes: 0, waitSeconds: 0 };
  let counted = 0;
  let waiting: ServingPod[] = [];

  const place = (pod: ServingPod): boolean => {
    const node = chooser.choose(pod);
    if (node === undefined) return false;
    const cost = world.costs(pod.model, queue.nowS)(node);
    node.occupy(pod, 1);
    const load = world.begin(node, pod.model, cost, queue.nowS);
    queue.at(load.endS, () => world.end(node, load, cost));
    queue.at(queue.nowS + cost.seconds + pod.lifeS, () => {
      node.occupy(pod, -1);
      waiting = waiting.filter((next) => !place(next));
    });
    if (pod.id < WARM_UP_PODS) return true;
    counted++;
    sums.loadSeconds += cost.seconds;
    sums.crossRackBytes += cost.crossRackBytes;
    sums.waitSeconds += queue.nowS - pod.arriveS;
    return true;
  };

  for (const pod of arrivals(size, catalogue(size.models, ofModels), WARM_UP_PODS + PODS, ofPods)) {
    queue.at(pod.arriveS, () => {
      if (!place(pod)) waiting.push(pod);
    });
  }
  const change = (): void => {
    world.changeWeather();
    queue.at(queue.nowS + BACKGROUND.everyS, change);
  };
  queue.at(BACKGROUND.everyS, change);
  queue.run(() => counted === PODS);
  if (counted < PODS) throw new Error(`${PODS - counted} of ${PODS} pods were never placed`);
  return {
    loadSeconds: sums.loadSeconds / PODS,
    crossRackBytes: sums.crossRackBytes / PODS,
    waitSeconds: sums.waitSeconds / PODS,
  };
}
