/** How much is written into a pod, and when. */
export type PlacementRules = {
  /** Of required affinity, those that the user wrote multiplied with ours; beyond it nothing is required. */
  readonly maxRequiredTerms: number;
  readonly maxPreferredTerms: number;
  /** Nodes that preferred affinity names one by one. */
  readonly maxNodes: number;
  /** Values of all terms together: names of zones, racks and rails. */
  readonly maxValues: number;
  /** Few nodes are much better where the best of the others takes this many times as long. */
  readonly betterRatio: number;
  /** Few are up to this share of the nodes: kube-scheduler looks at a tenth of 5,000, and finds one of more than that anyway. */
  readonly fewShare: number;
};

export const DEFAULT_PLACEMENT_RULES: PlacementRules = {
  maxRequiredTerms: 32,
  maxPreferredTerms: 32,
  maxNodes: 16,
  maxValues: 512,
  betterRatio: 1.5,
  fewShare: 0.1,
};
