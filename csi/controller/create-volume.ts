import type { Deadline } from '../../common/concurrency/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import type { VolumeControl, VolumeSpec } from '../ports.ts';
import {
  chooseSize,
  DEFAULT_FS_TYPE,
  formatVolumeContext,
  fsTypeOf,
  MAX_VOLUME_BYTES,
  parseCapabilities,
  parseParameters,
  reachableTopologies,
  refuse,
  refuseSecrets,
  requireName,
} from '../request/index.ts';
import { smallestVolumeBytes } from './volume-size.ts';
import { toCsiVolume } from './volume-view.ts';
import type { Zones } from './zones.ts';

function refuseWhatIsNotOffered(request: csi.v1.CreateVolumeRequest): void {
  if (request.volumeContentSource !== null)
    throw refuse('volume_content_source', 'snapshots and clones are not supported');
  if (Object.keys(request.mutableParameters).length > 0) {
    throw refuse('mutable_parameters', 'are not supported: no parameter of a volume can be changed later');
  }
  refuseSecrets(request.secrets);
}

/** The request as what control is to make. Pure: throws a typed error that names the field, and nothing has happened. */
export function parseCreateVolume(request: csi.v1.CreateVolumeRequest): VolumeSpec {
  const name = requireName('name', request.name);
  const capabilities = parseCapabilities('volume_capabilities', request.volumeCapabilities);
  refuseWhatIsNotOffered(request);
  const parameters = parseParameters(request.parameters, fsTypeOf('volume_capabilities', capabilities));
  const isMounted = capabilities.some(({ access }) => access.kind === 'mount');
  const fsType = parameters.fsType ?? (isMounted ? DEFAULT_FS_TYPE : undefined);
  return {
    name,
    sizeBytes: chooseSize(request.capacityRange, { minBytes: smallestVolumeBytes(fsType), maxBytes: MAX_VOLUME_BYTES }),
    limitBytes: request.capacityRange?.limitBytes ?? 0n,
    policy: parameters.policy,
    failureDomain: parameters.failureDomain,
    maxShardsPerDomain: parameters.maxShardsPerDomain,
    tier: parameters.tier,
    provisioning: parameters.provisioning,
    parameters: { ...formatVolumeContext(parameters, fsType), ...parameters.origin },
  };
}

/**
 * CSI 1.12 CreateVolume. Duplicates in flight meet in control, which takes requests for one name one after another: its answer to
 * the first decides the rest.
 */
export async function createVolume(
  parts: { readonly control: VolumeControl; readonly zones: Zones },
  request: csi.v1.CreateVolumeRequest,
  deadline: Deadline,
): Promise<MessageInit<csi.v1.Volume>> {
  const spec = parseCreateVolume(request);
  const zones = await parts.zones.list(deadline);
  reachableTopologies(request.accessibilityRequirements, zones);
  return toCsiVolume(await parts.control.createVolume(spec, deadline), zones);
}
