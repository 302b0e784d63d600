/**
 * One small thing to look at again and again: the text of a file, the names in a directory, where a link leads, or what lies
 * at a path (its kind, and the numbers of a device file). `path` is where this process sees it.
 */
export type Probe = { readonly kind: 'text' | 'names' | 'link' | 'node'; readonly path: string };

/** Indexes into the probes of the last `watch`. */
export type PulseNews = {
  /** Gives something else than before, or hangs now, or does not hang any more. Each once. */
  readonly changed: readonly number[];
  /** All whose last look has not returned. */
  readonly hanging: readonly number[];
};

/** Looks at many small things every so often, and says which have changed. As a port. */
export type Pulse = {
  /**
   * Looks at these from now on. Those that were there before keep what they gave last, so that a change between two watches
   * is news. Resolves when each has been looked at since, or hangs. Rejects when the signal aborts.
   */
  watch(probes: readonly Probe[], signal: AbortSignal): Promise<void>;
  close(): void;
};

export type PulseOptions = {
  readonly everyMs: number;
  /** A look that has not returned by then counts as hanging until it does, and delays no other. */
  readonly hangMs: number;
  /** Never called while `watch` runs. */
  readonly onNews: (news: PulseNews) => void;
};
