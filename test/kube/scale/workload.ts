import type { SeededRandom } from '../../../common/ports/index.ts';
import { claimObject, type PodGiven, podObject } from './objects.ts';
import type { Amounts, OraclePod, OracleReading, Part } from './oracle.ts';
import type { Model, Site } from './site.ts';

const GIB = 2 ** 30;
/** As shipped: of a volume of which nobody has told what is written (docs/scheduler-extender.md). */
const ASSUMED_FILL = 0.25;
/** As shipped: what a pod is taken to exchange with what it wants to be near to. */
const NEAR_BYTES = 1e9;
const ZIPF_EXPONENT = 1;
const CPU = 0.1;
const MEMORY = 128 * 2 ** 20;

/** How many pods of each kind. */
export type Mix = {
  /** A new volume. */
  readonly made: number;
  /** A new volume, and a model. */
  readonly madeAndModel: number;
  /** A volume that is there. */
  readonly bound: number;
  /** A new volume, near to a pod that runs. */
  readonly near: number;
  /** A model and no claim. */
  readonly model: number;
  /** Nothing of ours. */
  readonly strangers: number;
};

/** A volume that is there before the burst, and where it lies. */
export type BoundVolume = { readonly claim: string; readonly sizeBytes: number; readonly parts: readonly Part[] };
/** A pod that runs before the burst, and its node. */
export type Anchor = { readonly claim: string; readonly part: Part };

export type WorkPod = {
  readonly name: string;
  readonly isOurs: boolean;
  /** To be made with it. */
  readonly claims: readonly unknown[];
  readonly object: unknown;
  readonly oracle: OraclePod;
};

export type WorkloadOptions = {
  readonly site: Site;
  readonly random: SeededRandom;
  readonly mix: Mix;
  /** Of names. */
  readonly prefix: string;
  readonly bound: readonly BoundVolume[];
  readonly anchors: readonly Anchor[];
  readonly className: string;
  readonly schedulerName: string | undefined;
};

/** Of new volumes, one after another: the sum is known before there is a site. */
const SIZES_GIB = [40, 100, 200, 400];
const sizeGib = (at: number): number => SIZES_GIB[at % SIZES_GIB.length] ?? 0;

export function newVolumesGib({ made, madeAndModel, near }: Mix): number {
  return Array.from({ length: made + madeAndModel + near }, (_, at) => sizeGib(at)).reduce((sum, gib) => sum + gib, 0);
}

/** The pods of a burst, shuffled, each with what an oracle has to know of it. */
export function workload(options: WorkloadOptions): readonly WorkPod[] {
  const { mix, site, random } = options;
  const popular = new Zipf(site.models, ZIPF_EXPONENT);
  const kinds: readonly (readonly [count: number, make: (draft: Draft, at: number) => void])[] = [
    [mix.made, (draft) => draft.newVolume()],
    [
      mix.madeAndModel,
      (draft) => {
        draft.newVolume();
        draft.model(popular.pick(random));
      },
    ],
    [mix.bound, (draft, at) => draft.volume(options.bound[at])],
    [
      mix.near,
      (draft, at) => {
        draft.newVolume();
        draft.near(options.anchors[at % options.anchors.length]);
      },
    ],
    [mix.model, (draft) => draft.model(popular.pick(random))],
    [mix.strangers, () => undefined],
  ];
  const drafts: Draft[] = [];
  let volumes = 0;
  for (const [count, make] of kinds) {
    for (let at = 0; at < count; at++) {
      const draft = new Draft(`${options.prefix}-${drafts.length}`, options, () => sizeGib(volumes++));
      make(draft, at);
      drafts.push(draft);
    }
  }
  return shuffled(drafts, random).map((draft) => draft.pod());
}

function shuffled<T>(items: readonly T[], random: SeededRandom): T[] {
  return items
    .map((item) => [random.float(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}

/** The rank decides how often: the first twice as often as the second. */
export class Zipf<T> {
  readonly #items: readonly T[];
  readonly #bounds: readonly number[];

  constructor(items: readonly T[], exponent: number) {
    let sum = 0;
    this.#items = items;
    this.#bounds = items.map((_, rank) => (sum += 1 / (rank + 1) ** exponent));
  }

  pick(random: SeededRandom): T | undefined {
    const at = random.float() * (this.#bounds.at(-1) ?? 0);
    return this.#items[this.#bounds.findIndex((bound) => at < bound)];
  }
}

/** One pod while it is put together. */
class Draft {
  readonly #name: string;
  readonly #options: WorkloadOptions;
  readonly #nextGib: () => number;
  readonly #made: unknown[] = [];
  readonly #claims: string[] = [];
  readonly #readings: OracleReading[] = [];
  readonly #annotations: Record<string, string> = {};
  #gpu = 0;

  constructor(name: string, options: WorkloadOptions, nextGib: () => number) {
    this.#name = name;
    this.#options = options;
    this.#nextGib = nextGib;
  }

  newVolume(): void {
    const claim = `${this.#name}-new`;
    const gib = this.#nextGib();
    this.#made.push(claimObject(claim, `${gib}Gi`, this.#options.className));
    this.#claims.push(claim);
    this.#readings.push({ bytes: gib * GIB * ASSUMED_FILL, parts: this.#options.site.evenly });
  }

  volume(bound: BoundVolume | undefined): void {
    if (bound === undefined) throw new Error('there are too few volumes');
    this.#claims.push(bound.claim);
    this.#readings.push({ bytes: bound.sizeBytes * ASSUMED_FILL, parts: bound.parts });
  }

  model(model: Model | undefined): void {
    if (model === undefined) throw new Error('there are no models');
    this.#annotations['nabustore.io/models'] = model.id;
    this.#gpu = 1;
    this.#readings.push({ bytes: model.sizeBytes, parts: this.#options.site.partsOfModel(model) });
  }

  near(anchor: Anchor | undefined): void {
    if (anchor === undefined) throw new Error('there is nothing to be near to');
    this.#annotations['nabustore.io/near'] = `claim:${anchor.claim}`;
    this.#readings.push({ bytes: NEAR_BYTES, parts: [anchor.part] });
  }

  pod(): WorkPod {
    const isOurs = this.#readings.length > 0;
    const { schedulerName } = this.#options;
    const gpu = this.#gpu === 0 ? {} : { 'nvidia.com/gpu': String(this.#gpu) };
    const given: PodGiven = {
      claims: this.#claims,
      annotations: this.#annotations,
      resources: { cpu: `${CPU * 1000}m`, memory: String(MEMORY), ...gpu },
      stranger: !isOurs,
      ...(isOurs && schedulerName !== undefined ? { schedulerName } : {}),
    };
    const asks: Amounts = { cpu: CPU, memory: MEMORY, gpu: this.#gpu, pods: 1 };
    return {
      name: this.#name,
      isOurs,
      claims: this.#made,
      object: podObject(this.#name, given),
      oracle: { name: this.#name, asks, volumes: this.#claims.length, readings: this.#readings },
    };
  }
}
