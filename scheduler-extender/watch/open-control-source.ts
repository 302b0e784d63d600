import type { Logger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import type { ClusterIndex } from '../cluster/index.ts';
import { ControlSource } from './control-source.ts';

type Closing = { close(): void };

/** Loaded only where control is read: gRPC takes its memory. */
export async function openControlSource(
  { control, controlPollMs: pollMs }: { readonly control: string; readonly controlPollMs: number },
  index: ClusterIndex,
  logger: Logger,
): Promise<{ source: ControlSource; client: Closing }> {
  const [{ ControlClient }, { parseAddress }] = await Promise.all([
    import('../../engine/control/index.ts'),
    import('../../common/grpc/index.ts'),
  ]);
  const client = new ControlClient(parseAddress(control));
  const { growth } = index.storage;
  const source = new ControlSource({ control: client, sink: index, growth, pollMs, clock: realClock, logger });
  return { source, client };
}
