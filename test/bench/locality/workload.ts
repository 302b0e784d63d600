import type { SeededRandom } from '../../../common/ports/index.ts';
import {
  BURST_REPLICAS,
  BURST_SHARE,
  BURST_SPACING_S,
  type ClusterSize,
  MEAN_LIFE_S,
  MODEL_CLASSES,
  NODE,
  OCCUPANCY,
  PER_GPU,
  ZIPF_EXPONENT,
} from './constants.ts';

export type Model = { readonly id: number; readonly name: string; readonly sizeBytes: number; readonly gpus: number };

export type ServingPod = {
  readonly id: number;
  readonly model: Model;
  readonly gpus: number;
  readonly milliCpu: number;
  readonly memoryMib: number;
  readonly arriveS: number;
  /** From when it is placed. */
  readonly lifeS: number;
};

function classAt(percent: number): (typeof MODEL_CLASSES)[number] {
  let below = 0;
  for (const found of MODEL_CLASSES) {
    below += found.percent;
    if (percent < below) return found;
  }
  return MODEL_CLASSES[0];
}

/** Models in the order of their popularity; sizes have nothing to do with it. */
export function catalogue(count: number, random: SeededRandom): readonly Model[] {
  return Array.from({ length: count }, (_, id) => {
    const { sizeBytes, gpus } = classAt(random.float() * 100);
    return { id, name: `model-${id}`, sizeBytes, gpus };
  });
}

export function exponential(mean: number, random: SeededRandom): number {
  return -mean * Math.log(1 - random.float());
}

/** Draws models by their popularity. */
class Popularity {
  readonly #models: readonly Model[];
  readonly #upTo: readonly number[];
  readonly meanGpus: number;

  constructor(models: readonly Model[]) {
    const weights = models.map(({ id }) => (id + 1) ** -ZIPF_EXPONENT);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    this.#models = models;
    this.#upTo = weights.map((weight) => {
      sum += weight / total;
      return sum;
    });
    this.meanGpus = models.reduce((mean, { gpus }, at) => mean + (gpus * (weights[at] ?? 0)) / total, 0);
  }

  draw(random: SeededRandom): Model {
    const point = random.float();
    const at = this.#upTo.findIndex((upTo) => point < upTo);
    const model = this.#models[at < 0 ? this.#models.length - 1 : at];
    if (model === undefined) throw new Error('there is no model');
    return model;
  }
}

/** The same pods at the same moments for every scheduler. */
export function arrivals(
  size: ClusterSize,
  models: readonly Model[],
  count: number,
  random: SeededRandom,
): ServingPod[] {
  const popularity = new Popularity(models);
  const gpus = size.zones * size.racksPerZone * size.gpuNodesPerRack * NODE.gpus;
  const meanReplicas = 1 + (BURST_SHARE * (BURST_REPLICAS.least + BURST_REPLICAS.most - 2)) / 2;
  const everyS = (popularity.meanGpus * MEAN_LIFE_S * meanReplicas) / (gpus * OCCUPANCY);
  const pods: ServingPod[] = [];
  for (let nowS = 0; pods.length < count; nowS += exponential(everyS, random)) {
    const model = popularity.draw(random);
    const isBurst = random.float() < BURST_SHARE && model.gpus <= BURST_REPLICAS.gpus;
    const { least, most } = BURST_REPLICAS;
    const replicas = isBurst ? least + Math.floor(random.float() * (most - least + 1)) : 1;
    for (let replica = 0; replica < replicas && pods.length < count; replica++) {
      const scale = 0.5 + random.float();
      pods.push({
        id: pods.length,
        model,
        gpus: model.gpus,
        milliCpu: Math.round(model.gpus * PER_GPU.milliCpu * scale),
        memoryMib: Math.round(model.gpus * PER_GPU.memoryMib * scale),
        arriveS: nowS + replica * BURST_SPACING_S,
        lifeS: exponential(MEAN_LIFE_S, random),
      });
    }
  }
  return pods;
}
