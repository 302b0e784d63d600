import type { Logger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import type { ClusterSink } from '../cluster/index.ts';
import { ControlSource } from './control-source.ts';

type Closing = { close(): void };

/** Loaded only where control is read: gRPC takes its memory. */
export async function openControlSource(
  { control, controlPollMs: pollMs }: { readonly control: string; readonly controlPollMs: number },
  sink: ClusterSink,
  logger: Logger,
): Promise<{ source: ControlSource; client: Closing }> {
  const [{ ControlClient }, { parseAddress }] = await Promise.all([
    import('../../engine/control/index.ts'),
    import('../../common/grpc/index.ts'),
  ]);
  const client = new ControlClient(parseAddress(control));
  return { source: new ControlSource({ control: client, sink, pollMs, clock: realClock, logger }), client };
}
