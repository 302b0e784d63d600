/** What the load client is told to do: `count` blobs, named by series and number, `inFlight` at once. */
export type LoadRequest = {
  readonly op: 'put' | 'get';
  readonly series: string;
  readonly count: number;
  readonly inFlight: number;
  /** Different keys, when fewer than count: they are gone through again and again. */
  readonly keys?: number;
  /** Of this request alone: smaller blobs than the client was started for. */
  readonly blobBytes?: number;
  /** A get reads only so many bytes, each from another place of its blob. */
  readonly rangeBytes?: number;
};

export type LoadResult = {
  readonly seconds: number;
  readonly gbPerSecond: number;
  /** Of the client's process. */
  readonly cpuSeconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Reads since the client began that asked a further node, and that used parity. */
  readonly hedges: number;
  readonly decodes: number;
};
