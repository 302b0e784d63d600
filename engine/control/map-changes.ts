import type { ClusterMap } from '../placement/index.ts';

type Source = { current(): ClusterMap; onChange(listener: (map: ClusterMap) => void): () => void };

/**
 * The current map unless the caller has it, then each later one, until the signal aborts. A slow reader skips maps: only the
 * latest matters, and none is queued for it.
 */
export async function* changesOf(source: Source, signal: AbortSignal, knownEpoch: number): AsyncGenerator<ClusterMap> {
  let sent = knownEpoch;
  let wake = (): void => undefined;
  const stop = source.onChange(() => wake());
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      const map = source.current();
      // A client that knows a later epoch than ours followed a control whose state was lost: it must hear of it.
      if (map.epoch !== sent) {
        sent = map.epoch;
        yield map;
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (signal.aborted || source.current().epoch !== sent) resolve();
      });
    }
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}
