import { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { BlobClient } from '../client/index.ts';
import type { MapSource } from '../placement/index.ts';
import { volumeAddon } from './native.ts';

export type WarmUpOptions = {
  readonly blobs: BlobClient;
  readonly maps: MapSource;
  readonly clock: Clock;
  readonly logger: Logger;
};

const CONNECT_MS = 2000;

/** Everything that opening a volume needs and that does not depend on the volume: native code loaded, every node connected. */
export async function warmUp({ blobs, maps, clock, logger }: WarmUpOptions): Promise<void> {
  volumeAddon();
  using deadline = new Deadline({ clock, operation: 'connecting to the storage nodes', timeoutMs: CONNECT_MS });
  const nodes = blobs.nodes();
  await Promise.all(
    maps.current().nodes.map(async ({ id }) => {
      try {
        await (await nodes.clientOf(id, deadline)).ping({ deadline });
      } catch (err) {
        logger.debug('a node is away, it is dialled again', { node: id, err });
      }
    }),
  );
}
