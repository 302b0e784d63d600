import type { CallContext, Handlers } from '../../common/grpc/index.ts';
import { csi } from '../../proto/gen/messages.js';
import type { services } from '../../proto/gen/services.js';
import type { Readiness } from './readiness.ts';

export const PLUGIN_NAME = 'csi.nabustore.io';

const { Type: ServiceType } = csi.v1.PluginCapability.Service;
const { Type: ExpansionType } = csi.v1.PluginCapability.VolumeExpansion;

export type IdentityOptions = {
  readonly version: string;
  /** Whether this process serves Controller as well: a node-only plugin must not claim it. */
  readonly hasController: boolean;
  readonly readiness: Readiness;
};

/** CSI 1.12 Identity. Answers at once whatever the engine does: a plugin that is not ready says so, it does not hang. */
export function identityHandlers(options: IdentityOptions): Handlers<(typeof services)['csi.v1.Identity']> {
  const offered = [
    ...(options.hasController ? [{ service: { type: ServiceType.CONTROLLER_SERVICE } }] : []),
    { service: { type: ServiceType.VOLUME_ACCESSIBILITY_CONSTRAINTS } },
    { volumeExpansion: { type: ExpansionType.ONLINE } },
  ];
  return {
    getPluginInfo: async () => ({ name: PLUGIN_NAME, vendorVersion: options.version }),
    getPluginCapabilities: async () => ({ capabilities: offered }),
    probe: async (_request, context: CallContext) => ({ ready: { value: await options.readiness.check(context) } }),
  };
}
