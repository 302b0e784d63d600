import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import type { NodeReportInit } from '../../../../engine/control/index.ts';
import { NodeMap } from '../../../../engine/node/index.ts';
import { NodeLoad } from '../../../../engine/node/node-load.ts';
import { NodeReporter } from '../../../../engine/node/node-reporter.ts';
import { mapOf } from '../../../support/memory-node.ts';

describe('a node that reports', () => {
  const clock = new SimClock();
  let told: NodeReportInit[];
  let warnings: string[];
  let controlFails: Error | undefined;
  let peerFails: Error | undefined;
  let open: number;
  let stop: AbortController;
  let done: Promise<void>;

  beforeEach(() => {
    told = [];
    warnings = [];
    controlFails = undefined;
    peerFails = undefined;
    open = 0;
    stop = new AbortController();
    const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
    const reporter = new NodeReporter({
      nodeId: 'node-1',
      map: new NodeMap(mapOf(2, ['node-1', 'node-2'])),
      load: { next: () => 0.25 },
      connect: async () => {
        if (peerFails !== undefined) throw peerFails;
        open++;
        return { client: { ping: () => clock.sleep(0.05) }, close: () => void open-- };
      },
      control: {
        reportNode: async (id, report) => {
          if (controlFails !== undefined) throw controlFails;
          assert.equal(id, 'node-1');
          told.push(report);
        },
      },
      periodMs: 1000,
      clock,
      random: new SeededRandom(1),
      logger,
    });
    done = reporter.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(1);
    await done;
  });

  it('tells its load and the round trips it has measured, and keeps no connection', async () => {
    await clock.advance(1500);
    assert.equal(told[0]?.load, 0.25);
    assert.deepEqual(told[0]?.roundTrips, [
      { zone: 'z', rack: '', microseconds: 50 },
      { zone: 'z', rack: 'r', microseconds: 50 },
    ]);
    assert.equal(open, 0);
  });

  it('goes on when control or a peer is away, and says so once', async () => {
    controlFails = NabuError.of('UNAVAILABLE', { target: 'control', reason: 'away' });
    peerFails = NabuError.of('UNAVAILABLE', { target: 'node-2', reason: 'ETIMEDOUT' });
    await clock.advance(10_000);
    assert.deepEqual([told.length, warnings], [0, ['control takes no report']]);
    controlFails = undefined;
    await clock.advance(1500);
    assert.deepEqual([told.length > 0, told[0]?.roundTrips], [true, []]);
  });
});

describe('the load of a node', () => {
  it('is what its thread or its memory is busy with, whichever is more, smoothed', () => {
    let busy = 0.5;
    const slab = { sizeBytes: 100, freeBytes: 100, waiting: 0 };
    const load = new NodeLoad(slab, () => busy);
    assert.deepEqual([load.next(), load.next()], [0.25, 0.375]);
    slab.freeBytes = 0;
    busy = 0;
    assert.equal(load.next(), 0.6875);
    slab.freeBytes = 100;
    for (let at = 0; at < 20; at++) load.next();
    assert(load.next() < 0.001);
  });
});
