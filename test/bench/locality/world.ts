import type { SeededRandom } from '../../../common/ports/index.ts';
import { BACKGROUND, CACHE_BYTES, type ClusterSize, NODE, OTHERS_SHARE, RATE } from './constants.ts';
import type { Model, ServingPod } from './workload.ts';

/** A load that is under way; it keeps the rate that it began with. */
type Load = { readonly model: Model; readonly endS: number; readonly linkRate: number; readonly isRemote: boolean };

export class GpuNode {
  readonly at: number;
  readonly name: string;
  readonly zone: number;
  /** Counted through all zones. */
  readonly rack: number;
  freeGpus = NODE.gpus;
  milliCpu: number;
  memoryMib: number;
  /** By model, the least recently used first. */
  readonly cache = new Map<Model, number>();
  readonly loads = new Set<Load>();
  readonly podsOfModel = new Map<Model, number>();
  background = 0;

  constructor(at: number, zone: number, rack: number, othersShare: number) {
    this.at = at;
    this.name = `gpu-${at}`;
    this.zone = zone;
    this.rack = rack;
    this.milliCpu = Math.round(NODE.milliCpu * othersShare);
    this.memoryMib = Math.round(NODE.memoryMib * othersShare);
  }

  fits({ gpus, milliCpu, memoryMib }: ServingPod): boolean {
    const isRoom = this.milliCpu + milliCpu <= NODE.milliCpu && this.memoryMib + memoryMib <= NODE.memoryMib;
    return isRoom && gpus <= this.freeGpus;
  }

  occupy({ model, gpus, milliCpu, memoryMib }: ServingPod, sign: 1 | -1): void {
    this.freeGpus -= sign * gpus;
    this.milliCpu += sign * milliCpu;
    this.memoryMib += sign * memoryMib;
    this.podsOfModel.set(model, (this.podsOfModel.get(model) ?? 0) + sign);
  }

  /** Newest last; makes room by what was used longest ago, in part where a part is enough. */
  keep(model: Model): void {
    this.cache.delete(model);
    let used = [...this.cache.values()].reduce((sum, bytes) => sum + bytes, 0);
    for (const [old, bytes] of this.cache) {
      const excess = used + model.sizeBytes - CACHE_BYTES;
      if (excess <= 0) break;
      if (excess >= bytes) this.cache.delete(old);
      else this.cache.set(old, bytes - excess);
      used -= Math.min(excess, bytes);
    }
    this.cache.set(model, model.sizeBytes);
  }

  /** Of its link, what is in use by whatever. */
  linkUse(): number {
    let rate = 0;
    for (const { linkRate } of this.loads) rate += linkRate;
    return Math.min(1, this.background + rate / RATE.link);
  }
}

/** How one pod gets its model on one node, as things are at that moment. */
export type Cost = {
  readonly seconds: number;
  readonly crossRackBytes: number;
  readonly remoteBytes: number;
};

/** What else is on a link, about a mean of its own; the same in all worlds of a seed. */
class Weather {
  readonly values: Float64Array;
  readonly #means: Float64Array;
  readonly #random: SeededRandom;

  constructor(count: number, random: SeededRandom) {
    const { leastMean, mostMean } = BACKGROUND;
    this.#random = random;
    this.#means = Float64Array.from({ length: count }, () => leastMean + random.float() * (mostMean - leastMean));
    this.values = this.#means.slice();
  }

  next(): void {
    const { keep, noise, most } = BACKGROUND;
    for (const [at, mean] of this.#means.entries()) {
      const shock = (this.#random.float() * 2 - 1) * noise;
      const value = keep * (this.values[at] ?? 0) + (1 - keep) * mean + shock;
      this.values[at] = Math.min(Math.max(value, 0), most);
    }
  }
}

/** GPU nodes with caches, racks with storage nodes, links that are shared. The truth, which only an oracle sees. */
export class World {
  readonly size: ClusterSize;
  readonly nodes: readonly GpuNode[];
  readonly racks: number;
  readonly #links: Weather;
  readonly #uplinks: Weather;
  readonly #intoRack: Int32Array;

  constructor(size: ClusterSize, random: SeededRandom) {
    this.size = size;
    this.racks = size.zones * size.racksPerZone;
    const count = this.racks * size.gpuNodesPerRack;
    this.nodes = Array.from({ length: count }, (_, at) => {
      const rack = Math.floor(at / size.gpuNodesPerRack);
      return new GpuNode(at, Math.floor(rack / size.racksPerZone), rack, random.float() * OTHERS_SHARE);
    });
    this.#links = new Weather(count, random.fork());
    this.#uplinks = new Weather(this.racks, random.fork());
    this.#intoRack = new Int32Array(this.racks);
    this.#share();
  }

  changeWeather(): void {
    this.#links.next();
    this.#uplinks.next();
    this.#share();
  }

  /**
   * Of each node. Blobs come from the nearest that has them: the own cache, caches and storage nodes of the rack, of the zone, the rest.
   * What two caches have lost is lost independently. All these streams run side by side and share the node's link.
   */
  costs(model: Model, nowS: number): (node: GpuNode) => Cost {
    const { racks, zones } = this.#missing(model);
    return (node) => {
      const streams = [...node.loads].filter(({ isRemote }) => isRemote).length;
      const readers = node.loads.size;
      const cacheRate = RATE.cache / (1 + readers);
      for (const load of node.loads) {
        // Blobs that are on their way are asked for once.
        if (load.model !== model) continue;
        const seconds = Math.max(load.endS - nowS, model.sizeBytes / cacheRate);
        return { seconds, crossRackBytes: 0, remoteBytes: 0 };
      }
      const own = (node.cache.get(model) ?? 0) / model.sizeBytes;
      const missing = 1 - own;
      const notInRack = missing * (racks[node.rack] ?? 1);
      const notInZone = missing * (zones[node.zone] ?? 1);
      const inRack = missing - notInRack;
      const inZone = notInRack - Math.min(notInZone, notInRack);
      const far = Math.min(notInZone, notInRack);
      const linkRate = (RATE.link * (1 - node.background)) / (1 + streams);
      const uplinkRate = this.#uplinkRate(node.rack);
      const outside = Math.min(linkRate, uplinkRate);
      const remoteShareS = Math.max(
        inRack / Math.min(RATE.rackStream, linkRate),
        inZone / Math.min(RATE.zoneStream, outside),
        far / Math.min(RATE.farStream, outside),
        missing / linkRate,
        notInRack / outside,
      );
      return {
        seconds: model.sizeBytes * Math.max(own / cacheRate, remoteShareS),
        crossRackBytes: model.sizeBytes * notInRack,
        remoteBytes: model.sizeBytes * missing,
      };
    };
  }

  /** Begins the load; the caller ends it. */
  begin(node: GpuNode, model: Model, cost: Cost, nowS: number): Load {
    const isRemote = cost.remoteBytes > 0;
    const linkRate = isRemote ? cost.remoteBytes / cost.seconds : 0;
    const load: Load = { model, endS: nowS + cost.seconds, linkRate, isRemote };
    node.loads.add(load);
    if (cost.crossRackBytes > 0) this.#intoRack[node.rack] = (this.#intoRack[node.rack] ?? 0) + 1;
    return load;
  }

  end(node: GpuNode, load: Load, cost: Cost): void {
    node.loads.delete(load);
    if (cost.crossRackBytes > 0) this.#intoRack[node.rack] = (this.#intoRack[node.rack] ?? 0) - 1;
    node.keep(load.model);
  }

  #share(): void {
    for (const node of this.nodes) node.background = this.#links.values[node.at] ?? 0;
  }

  #uplinkRate(rack: number): number {
    const whole = RATE.link * this.size.gpuNodesPerRack * RATE.uplinkShare;
    return (whole * (1 - (this.#uplinks.values[rack] ?? 0))) / (1 + (this.#intoRack[rack] ?? 0));
  }

  /** Of a model, what no cache and no storage node of each rack and each zone has, as a share. */
  #missing(model: Model): { readonly racks: Float64Array; readonly zones: Float64Array } {
    const { dataShards, parityShards, zones: zoneCount } = this.size;
    const stored = (dataShards + parityShards) / dataShards;
    const racks = new Float64Array(this.racks).fill(1 - Math.min(1, stored / this.racks));
    const zones = new Float64Array(zoneCount).fill(1 - Math.min(1, stored / zoneCount));
    for (const { cache, rack, zone } of this.nodes) {
      const lost = 1 - (cache.get(model) ?? 0) / model.sizeBytes;
      racks[rack] = (racks[rack] ?? 1) * lost;
      zones[zone] = (zones[zone] ?? 1) * lost;
    }
    return { racks, zones };
  }
}
