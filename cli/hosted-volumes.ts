import { readdir } from 'node:fs/promises';
import { NabuError } from '../common/errors/index.ts';
import { GrpcClient } from '../common/grpc/index.ts';
import type { Layout } from '../common/layout/index.ts';
import type { nabustore } from '../proto/gen/messages.js';
import { services } from '../proto/gen/services.js';

const CALL_TIMEOUT_MS = 3_000;
const SOCKET = /^volumes-(\d+)\.sock$/;

/** The slots of this machine's pool that were ever started. */
export async function poolSlots(layout: Layout): Promise<number[]> {
  const files = await readdir(layout.run).catch(() => []);
  return files.flatMap((file) => SOCKET.exec(file)?.[1] ?? []).map(Number);
}

/** What the volume servers of this machine have open, by volume id. A server that does not answer is named in `problems`. */
export async function hostedVolumes(
  layout: Layout,
  problems: string[],
): Promise<Map<string, nabustore.v1.HostedVolume>> {
  const found = new Map<string, nabustore.v1.HostedVolume>();
  for (const slot of await poolSlots(layout)) {
    const grpc = new GrpcClient({ address: { kind: 'unix', path: layout.volumeHostSocket(slot) } });
    try {
      const host = grpc.service(services['nabustore.v1.VolumeHost']);
      const { volumes } = await host.listVolumes({}, { timeoutMs: CALL_TIMEOUT_MS });
      for (const volume of volumes) found.set(volume.volumeId, volume);
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      problems.push(`volume server ${slot}: ${err.message}`);
    } finally {
      grpc.close();
    }
  }
  return found;
}
