/** One object of control's state. Kinds and ids are ours; the body is a JSON value. */
export type Resource = {
  readonly kind: string;
  readonly id: string;
  /** A second unique name within the kind, or null. */
  readonly name: string | null;
  /** Greater after every write of anything in the store; what compare-and-swap compares. */
  readonly version: bigint;
  readonly body: unknown;
};

export type ResourceWrite = {
  readonly kind: string;
  readonly id: string;
  readonly name: string | null;
  /** The version last read; 0n: it must not exist yet. */
  readonly expected: bigint;
  readonly body: unknown;
};

export type ResourceDelete = { readonly kind: string; readonly id: string; readonly expected: bigint };

/** `after` is null when the resource was deleted. */
export type ResourceChange = { readonly kind: string; readonly id: string; readonly after: Resource | null };

/**
 * Control's state: get, list, watch, compare-and-swap. Drivers: `sqlite` (embedded), `kubernetes` (a later one). Writes are
 * durable when they resolve.
 */
export interface ResourceStore {
  readonly driver: string;
  get(kind: string, id: string): Promise<Resource | undefined>;
  getByName(kind: string, name: string): Promise<Resource | undefined>;
  /** In the order of ids, those after `afterId` ('' = from the first). */
  list(kind: string, afterId: string, limit: number): Promise<Resource[]>;
  /** Throws RESOURCE_CONFLICT when the version is not the expected one, or the name or id is taken. */
  put(write: ResourceWrite): Promise<Resource>;
  /** Throws RESOURCE_CONFLICT when the version is not the expected one. */
  delete(change: ResourceDelete): Promise<void>;
  /** Called after each durable change of the kind, in order. Returns what ends the watch. */
  watch(kind: string, listener: (change: ResourceChange) => void): () => void;
  close(): Promise<void>;
}
