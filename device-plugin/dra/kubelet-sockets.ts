import { join } from 'node:path';
import { services } from '../../proto/gen/kubelet.js';
import type { ClaimPreparer } from './claim-preparer.ts';
import { DRIVER_NAME } from './driver-name.ts';
import { KeptSocket, type KeptSocketOptions } from './kept-socket.ts';
import { type HealthMessage, healthHandlers, pluginHandlers, registrationHandlers } from './plugin-handlers.ts';

export type KubeletSocketsOptions = {
  readonly kubeletDir: string;
  readonly preparer: ClaimPreparer;
  readonly health: (signal: AbortSignal) => AsyncIterable<HealthMessage>;
  /** What became of a registration: undefined, or why it failed. */
  readonly onStatus: (error: string | undefined) => void;
  /** The registration's socket is there, also anew. */
  readonly onListening: () => void;
  readonly socket: Pick<KeptSocketOptions, 'clock' | 'random' | 'logger' | 'lookMs' | 'maxCallMs'>;
};

/**
 * The two sockets of a DRA driver: its service, below plugins/, and its registration, in plugins_registry/, where the kubelet
 * finds it (kubeletplugin, endpoint.go). In the order in which they are to be started: a kubelet that has read one dials the
 * other.
 */
export function kubeletSockets(options: KubeletSocketsOptions): readonly KeptSocket[] {
  const { kubeletDir, preparer, health, onStatus, onListening, socket } = options;
  const endpoint = join(kubeletDir, 'plugins', DRIVER_NAME, 'dra.sock');
  const plugin = new KeptSocket({
    ...socket,
    path: endpoint,
    serve: (server) => {
      server.add(services['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin'], pluginHandlers(preparer, socket.logger));
      server.add(services['v1alpha1.DRAResourceHealth'], healthHandlers(health));
    },
  });
  const registration = new KeptSocket({
    ...socket,
    path: join(kubeletDir, 'plugins_registry', `${DRIVER_NAME}-reg.sock`),
    serve: (server) =>
      server.add(services['pluginregistration.Registration'], registrationHandlers(endpoint, onStatus)),
    onListening,
  });
  return [plugin, registration];
}
