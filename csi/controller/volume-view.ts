import type { MessageInit } from '../../common/grpc/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import type { VolumeRecord } from '../ports.ts';
import { nodeContextOf, reachableTopologies } from '../request/index.ts';

export function toCsiVolume(record: VolumeRecord, zones: readonly string[]): MessageInit<csi.v1.Volume> {
  return {
    volumeId: record.id,
    capacityBytes: record.sizeBytes,
    volumeContext: nodeContextOf(record.parameters),
    accessibleTopology: reachableTopologies(null, zones),
  };
}

export function publishedNodes(record: VolumeRecord): string[] {
  return record.attachment === null ? [] : [record.attachment.nodeName];
}

/** CSI 1.12 VolumeCondition: abnormal when somebody should look. */
export function conditionOf(record: VolumeRecord): csi.v1.VolumeCondition {
  if (record.state === 'deleting') return { abnormal: true, message: 'the volume is being deleted' };
  // What a server of an earlier attachment told says nothing about a volume that nobody has open.
  const report = record.attachment === null ? null : record.report;
  if (report?.state === 'failed' || report?.state === 'waiting') {
    return { abnormal: true, message: report.reason === '' ? `the volume is ${report.state}` : report.reason };
  }
  return { abnormal: false, message: report === null ? 'not in use' : report.state };
}
