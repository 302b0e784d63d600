import assert from 'node:assert/strict';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import type { FactsOf } from '../../../../scheduler-extender/cluster/index.ts';
import { localityReportFacts } from '../../../../scheduler-extender/kube/index.ts';
import { FreshReports } from '../../../../scheduler-extender/watch/fresh-reports.ts';
import { type Given, reportObject } from '../../../support/extender/objects.ts';

describe('reports of nodes', () => {
  let clock: SimClock;
  let believed: Map<string, FactsOf['report']>;
  let told: unknown[];
  let reports: FreshReports;

  beforeEach(() => {
    clock = new SimClock();
    believed = new Map();
    told = [];
    const logger: Logger = { ...silentLogger, warn: (_message: string, fields?: object) => void told.push(fields) };
    const sink = {
      put: (_: 'report', facts: FactsOf['report']) => void believed.set(facts.node, facts),
      remove: (_: 'report', node: string) => void believed.delete(node),
    };
    reports = new FreshReports({ sink, clock, logger });
  });
  afterEach(() => reports.stop());

  const tell = (node: string, agoMs: number, spec: Given = {}): void => {
    const reportedAt = new Date(clock.nowMs() - agoMs).toISOString();
    reports.put('report', localityReportFacts(reportObject(node, [], { reportedAt, ...spec })));
  };

  it('are believed for as long as they say, from when they were made', async () => {
    tell('n', 20_000);
    await clock.advance(39_000);
    assert.deepEqual([...believed.keys()], ['n']);
    await clock.advance(2000);
    assert.deepEqual([[...believed.keys()], reports.counts], [[], { believed: 0, expired: 1, leftOut: 0 }]);
  });

  it('that are older than that are not believed at all', () => {
    tell('n', 61_000);
    assert.deepEqual([...believed.keys()], []);
  });

  it('do not grow younger by being told again', async () => {
    const reportedAt = new Date(clock.nowMs()).toISOString();
    tell('n', 0, { reportedAt });
    await clock.advance(50_000);
    tell('n', 0, { reportedAt });
    await clock.advance(11_000);
    assert.equal(believed.size, 0);
    tell('n', 0, { reportedAt });
    assert.equal(believed.size, 0);
  });

  it('that are seen to be replaced by newer ones are as old as their arrival, whatever the clock of the node says', async () => {
    for (const skewMs of [3_600_000, -3_600_000]) {
      tell('n', skewMs);
      await clock.advance(1000);
      tell('n', skewMs);
      await clock.advance(58_000);
      assert.equal(believed.size, 1);
      await clock.advance(3000);
      assert.equal(believed.size, 0);
    }
  });

  it('go with the node', async () => {
    tell('n', 0);
    reports.remove('report', 'n');
    assert.deepEqual([believed.size, reports.counts], [0, { believed: 0, expired: 0, leftOut: 0 }]);
    await clock.advance(120_000);
  });

  it('have a bound together; what does not fit changes nothing and is told once', () => {
    const contents = Array.from({ length: 128 }, (_, at) => {
      const names = Array.from({ length: 8 }, (_unused, name) => `${at}-${name}`);
      return { kind: 'KVCache', id: `k${at}`, names, sizeBytes: 1, cachedBytes: 1 };
    });
    tell('last', 0);
    for (let at = 0; at < 400; at++) tell(`n${at}`, 0, { contents });
    assert.equal(believed.size, 1 + Math.floor(250_000 / (1 + 128 * 9)));
    const toldBefore = told.length;
    tell('last', -1000, { contents });
    tell('last', -2000, { contents });
    assert.deepEqual([told.length - toldBefore, believed.get('last')?.contents.length], [1, 0]);
    reports.remove('report', 'n0');
    tell('last', -3000, { contents });
    assert.equal(believed.get('last')?.contents.length, 128);
  });
});
