/** 'unknown': nothing here tells. 'unneeded': the mode that this machine has does without. */
export type Verdict = 'yes' | 'no' | 'unknown' | 'unneeded';

/** One thing that GPUDirect Storage needs, what was found of it, and what to do where it is missing. */
export type Requirement = {
  readonly name: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** '' where there is nothing to do. */
  readonly toDo: string;
};

/** How cuFile reaches storage from here; 'compat': through a bounce buffer in host memory; 'none': there is no GPU. */
export type GdsMode = 'nvidia-fs' | 'p2pdma' | 'compat' | 'none';

/** Undefined where nothing tells. */
export function verdictOf(isThere: boolean | null): Verdict {
  if (isThere === null) return 'unknown';
  return isThere ? 'yes' : 'no';
}
