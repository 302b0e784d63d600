import type { Policy } from './choosers.ts';
import { CLUSTERS, type ClusterSize, SEED } from './constants.ts';
import { type Outcome, simulate } from './simulate.ts';

export type Figure = 'loadSeconds' | 'crossRackBytes';

/** Of each figure, the oracle that minimises just that. */
const ORACLE: Readonly<Record<Figure, Policy>> = {
  loadSeconds: 'oracle-seconds',
  crossRackBytes: 'oracle-cross-rack',
};

export type Gap = {
  readonly cluster: string;
  readonly byDefault: number;
  readonly ours: number;
  readonly oracle: number;
  /** Of what lies between the default scheduler and the oracle, how much is gone with ours. */
  readonly closed: number;
};

/** Runs every world once, however many figures are asked for. */
export class Gaps {
  readonly #outcomes = new Map<string, readonly Outcome[]>();

  of(figure: Figure): Gap[] {
    return CLUSTERS.map((size) => {
      const byDefault = this.#mean(size, 'default', figure);
      const ours = this.#mean(size, 'ours', figure);
      const oracle = this.#mean(size, ORACLE[figure], figure);
      return { cluster: size.name, byDefault, ours, oracle, closed: (byDefault - ours) / (byDefault - oracle) };
    });
  }

  #mean(size: ClusterSize, policy: Policy, figure: Figure): number {
    const key = `${size.name} ${policy}`;
    const known = this.#outcomes.get(key);
    const outcomes = known ?? Array.from({ length: size.runs }, (_, run) => simulate(size, policy, SEED + run));
    this.#outcomes.set(key, outcomes);
    return outcomes.reduce((sum, outcome) => sum + outcome[figure], 0) / outcomes.length;
  }
}
