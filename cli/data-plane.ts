import { silentLogger } from '../common/logging/index.ts';
import { realClock, realRandom } from '../common/ports/index.ts';
import { BlobClient } from '../engine/client/index.ts';
import type { ClusterMap } from '../engine/placement/index.ts';
import { Slab } from '../engine/slab/index.ts';
import { TcpTransport } from '../engine/transport/index.ts';

/** A command asks few things: room for one blob with its parity, or for none. */
const SMALL_SLAB_BYTES = 1 << 20;
const BLOB_SLAB_BYTES = 256 << 20;

export type DataPlane = { readonly slab: Slab; readonly transport: TcpTransport };

/** What a command needs to speak with storage nodes itself. */
export function openDataPlane(slabBytes = SMALL_SLAB_BYTES): DataPlane {
  const slab = Slab.create({ sizeBytes: slabBytes, hugePages: 'no' });
  return { slab, transport: new TcpTransport({ slab, clock: realClock, logger: silentLogger }) };
}

/** A blob client over the map as it is now: a command does not outlive it by much. */
export function openBlobClient(map: ClusterMap): BlobClient {
  const { slab, transport } = openDataPlane(BLOB_SLAB_BYTES);
  return new BlobClient({
    slab,
    transport,
    maps: { current: () => map, onChange: () => () => undefined },
    clock: realClock,
    random: realRandom,
    logger: silentLogger,
    label: 'nabu',
  });
}
