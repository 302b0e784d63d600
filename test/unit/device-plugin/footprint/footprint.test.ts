import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { Footprint } from '../../../../device-plugin/footprint/index.ts';
import { giveBack } from '../../../../device-plugin/footprint/native.ts';

function residentOfFilesKib(): number {
  return Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]);
}

describe('the footprint of an idle process', () => {
  it('loses the code that is not in use, and what is used again is the same', () => {
    const before = residentOfFilesKib();
    assert(giveBack() > 10 << 20);
    assert(residentOfFilesKib() < before / 2, `${residentOfFilesKib()} of ${before} KiB`);
    assert.equal(JSON.stringify(['still here', 1.5, /x+/.exec('axx')?.[0]]), '["still here",1.5,"xx"]');
  });

  it('is looked after soon after the start and every hour, until it is closed', async () => {
    const clock = new SimClock();
    let times = 0;
    const footprint = new Footprint({ clock, logger: silentLogger, giveBack: () => ++times });
    footprint.start();
    await clock.advance(14_999);
    assert.equal(times, 0);
    await clock.advance(1);
    assert.equal(times, 1);
    await clock.advance(2 * 3_600_000);
    assert.equal(times, 3);
    footprint.close();
    assert.equal(clock.pendingTimers, 0);
  });

  it('is left alone, with one line, where the addon is not there', async () => {
    const clock = new SimClock();
    const said: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void said.push(message) };
    const missing = NabuError.of('DRIVER_UNAVAILABLE', { port: 'footprint', driver: 'native', reason: 'not built' });
    const footprint = new Footprint({
      clock,
      logger,
      giveBack: () => {
        throw missing;
      },
    });
    footprint.start();
    await clock.advance(10 * 3_600_000);
    assert.deepEqual(said, ['memory of the start is kept']);
    assert.equal(clock.pendingTimers, 0);
  });
});
