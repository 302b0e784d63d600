/** Kubernetes, core/v1, NodeSelectorRequirement. */
export type Requirement = {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | null | undefined;
};

/** Kubernetes, core/v1, NodeSelectorTerm: all of it has to hold. One without any requirement matches no node. */
export type Term = {
  readonly matchExpressions?: readonly Requirement[] | null | undefined;
  readonly matchFields?: readonly Requirement[] | null | undefined;
};

/** Kubernetes, core/v1, PreferredSchedulingTerm. `weight`: 1 to 100, added up over the terms that a node matches. */
export type PreferredTerm = { readonly weight: number; readonly preference: Term };

/** What is written of the knowledge of where data lies. */
export type Placement = {
  /** Alternatives, each of expressions alone; empty: nothing is required. */
  readonly required: readonly Term[];
  readonly preferred: readonly PreferredTerm[];
};

/** The only field that a term may name, with one value (Kubernetes, validation, ValidateNodeFieldSelectorRequirement). */
export function onNode(name: string): Term {
  return { matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] };
}
