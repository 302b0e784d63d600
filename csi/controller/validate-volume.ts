import { NabuError } from '../../common/errors/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import type { VolumeRecord } from '../ports.ts';
import { nodeContextOf, parseCapabilities, parseParameters } from '../request/index.ts';

/** Why the request does not hold for the volume; undefined when it does. Throws when it could hold for none: an unknown parameter. */
function objection(record: VolumeRecord, request: csi.v1.ValidateVolumeCapabilitiesRequest): string | undefined {
  const own = nodeContextOf(record.parameters);
  for (const [key, value] of Object.entries(request.volumeContext)) {
    if (key in own && own[key] !== value) return `the volume's ${key} is ${own[key]}`;
  }
  const parsed = parseParameters(request.parameters, undefined);
  if (parsed.policy !== '' && parsed.policy !== record.policy) return `the volume's policy is ${record.policy}`;
  if (Object.keys(request.mutableParameters).length > 0) return 'no parameter of a volume can be changed';
  const fsType = record.parameters.fsType;
  for (const { access } of parseCapabilities('volume_capabilities', request.volumeCapabilities)) {
    if (access.kind === 'mount' && access.fsType !== undefined && fsType !== undefined && access.fsType !== fsType) {
      return `the volume's file system is ${fsType}`;
    }
  }
  return undefined;
}

/** CSI 1.12 ValidateVolumeCapabilities: what is not supported is an answer without a confirmation, not an error. */
export function validateCapabilities(
  record: VolumeRecord,
  request: csi.v1.ValidateVolumeCapabilitiesRequest,
): MessageInit<csi.v1.ValidateVolumeCapabilitiesResponse> {
  let message: string | undefined;
  try {
    message = objection(record, request);
  } catch (err) {
    if (!NabuError.is(err) || err.entry.grpc !== 'INVALID_ARGUMENT') throw err;
    message = err.message;
  }
  if (message !== undefined) return { message };
  return {
    confirmed: {
      volumeContext: request.volumeContext,
      volumeCapabilities: request.volumeCapabilities,
      parameters: request.parameters,
    },
  };
}
