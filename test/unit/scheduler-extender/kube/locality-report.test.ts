import assert from 'node:assert/strict';
import { localityReportFacts } from '../../../../scheduler-extender/kube/index.ts';
import { type Given, reportObject } from '../../../support/extender/objects.ts';

const HCAS = { resource: 'nabustore.io/rdma', numaNode: 0, total: 4, free: 1 };
const MODEL = { kind: 'Model', id: 'llama', sizeBytes: 100, cachedBytes: 40 };

function refusal(contents: readonly Given[], spec: Given = {}): string {
  try {
    localityReportFacts(reportObject('n', contents, spec));
  } catch (err) {
    return err instanceof Error ? err.message : String(err);
  }
  return 'it was taken';
}

describe('a locality report', () => {
  it('says what its node has, how busy its link is, and until when that holds', () => {
    const held = { ...MODEL, names: ['llama-70b', 'llama-70b'], stored: true };
    const facts = localityReportFacts(reportObject('n', [held], { linkLoadPercent: 35 }));
    const { node, validMs, linkLoad, contents, reportedAtMs } = facts;
    assert.deepEqual([node, validMs, linkLoad, reportedAtMs], ['n', 60_000, 0.35, Date.UTC(2026, 0, 1)]);
    assert.deepEqual(contents, [
      { kind: 'model', id: 'llama', names: ['llama-70b'], sizeBytes: 100, cachedBytes: 40, isStored: true },
    ]);
  });

  it('may say nothing of its link and of contents', () => {
    const { linkLoad, contents } = localityReportFacts(reportObject('n', [], { contents: undefined }));
    assert.deepEqual([linkLoad, contents], [undefined, []]);
  });

  it('is refused whole, by the field that makes no sense', () => {
    const cases: readonly [string, readonly Given[], Given?][] = [
      ['spec.reportedAt', [], { reportedAt: undefined }],
      ['is not a time', [], { reportedAt: 'yesterday' }],
      ['is not a time', [], { reportedAt: '2026-13-41T00:00:00Z' }],
      ['spec.validSeconds', [], { validSeconds: 1 }],
      ['spec.validSeconds', [], { validSeconds: 1e9 }],
      ['spec.validSeconds', [], { validSeconds: '60' }],
      ['spec.linkLoadPercent', [], { linkLoadPercent: 101 }],
      ['spec.linkLoadPercent', [], { linkLoadPercent: null }],
      ['contents[0].kind', [{ ...MODEL, kind: 'constructor' }]],
      ['spec.devices[0].resource', [], { devices: [{ ...HCAS, resource: 'example.com/gpu' }] }],
      ['spec.devices[0].free', [], { devices: [{ ...HCAS, free: 5 }] }],
      ['spec.devices[0].numaNode', [], { devices: [{ ...HCAS, numaNode: -1 }] }],
      ['names one resource of a NUMA node twice', [], { devices: [HCAS, HCAS] }],
      ['spec.devices', [], { devices: {} }],
      ['contents[1].id', [MODEL, { ...MODEL, id: 'a,b' }]],
      ['contents[0].id', [{ ...MODEL, id: 'x'.repeat(129) }]],
      ['contents[0].names', [{ ...MODEL, names: Array.from({ length: 9 }, (_, at) => `n${at}`) }]],
      ['contents[0].names[0]', [{ ...MODEL, names: [''] }]],
      ['contents[0].sizeBytes', [{ ...MODEL, sizeBytes: 2 ** 53 }]],
      ['contents[0].cachedBytes', [{ ...MODEL, cachedBytes: 101 }]],
      ['contents[0].cachedBytes', [{ ...MODEL, cachedBytes: -1 }]],
      ['names one content twice', [MODEL, MODEL]],
      ['more than 128 entries', Array.from({ length: 129 }, (_, at) => ({ ...MODEL, id: `m${at}` }))],
    ];
    for (const [reason, contents, spec] of cases)
      assert(refusal(contents, spec).includes(reason), `${reason}: ${refusal(contents, spec)}`);
  });
});
