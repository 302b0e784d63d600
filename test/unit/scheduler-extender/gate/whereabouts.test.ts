import assert from 'node:assert/strict';
import type { V1Pod } from '@kubernetes/client-node';
import { whereabouts } from '../../../../scheduler-extender/gate/index.ts';

const GATE = 'nabustore.io/extender';
const MARKER = 'nabustore.io/locality';
type Part<K extends 'metadata' | 'spec' | 'status'> = Partial<NonNullable<V1Pod[K]>>;

function pod(metadata: Part<'metadata'>, spec: Part<'spec'>, status: Part<'status'> = {}): V1Pod {
  const resources = { requests: { [MARKER]: '1' }, limits: { [MARKER]: '1' } };
  return { metadata, spec: { containers: [{ name: 'c', resources }], ...spec }, status };
}
const where = (given: V1Pod): string | undefined => whereabouts(given, GATE, MARKER);
const told = (reason: string): Part<'status'> => ({ conditions: [{ type: 'PodScheduled', status: 'False', reason }] });

describe('where a pod is on its way to a node', () => {
  it('is behind our gate as long as that is there, whatever others there are', () => {
    assert.equal(where(pod({}, { schedulingGates: [{ name: GATE }] })), 'gate');
    assert.equal(
      where(pod({}, { schedulingGates: [{ name: 'x/quota' }, { name: GATE }] }, told('SchedulingGated'))),
      'gate',
    );
  });

  it('is with the scheduler when it was let through and nothing has come of it, or an error', () => {
    assert.equal(where(pod({}, {})), 'scheduler');
    assert.equal(where(pod({}, { schedulingGates: [] }, told('SchedulingGated'))), 'scheduler');
    assert.equal(where(pod({}, {}, told('SchedulerError'))), 'scheduler');
    const resources = { limits: { [MARKER]: '1' } };
    assert.equal(
      where(pod({}, { containers: [{ name: 'c' }], initContainers: [{ name: 'i', resources }] })),
      'scheduler',
    );
  });

  it('is over when the pod was refused, has a node, or will have one', () => {
    assert.equal(where(pod({}, {}, told('Unschedulable'))), undefined);
    assert.equal(where(pod({}, { nodeName: 'n1' })), undefined);
    assert.equal(where(pod({}, {}, { nominatedNodeName: 'n1', ...told('SchedulerError') })), undefined);
  });

  it('is of no interest where the scheduler will not ask us', () => {
    assert.equal(where(pod({}, { containers: [{ name: 'c' }] })), undefined);
    assert.equal(where(pod({}, { schedulingGates: [{ name: 'x/quota' }] })), undefined);
    assert.equal(where(pod({ deletionTimestamp: new Date(0) }, { schedulingGates: [{ name: GATE }] })), undefined);
  });
});
