import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LinkMeter } from '../../../cli/link-meter.ts';
import { SimClock } from '../../../common/ports/index.ts';

describe('how busy a link is', () => {
  let sysfs: string;
  let clock: SimClock;
  beforeEach(() => {
    sysfs = mkdtempSync(join(tmpdir(), 'nabu-link-'));
    clock = new SimClock();
  });
  afterEach(() => rmSync(sysfs, { recursive: true, force: true }));

  const write = (path: string, text: string | number): void => {
    mkdirSync(dirname(join(sysfs, path)), { recursive: true });
    writeFileSync(join(sysfs, path), `${text}\n`);
  };
  const ethernet = (speed: number, rx: number, tx: number): void => {
    write('class/net/eth0/speed', speed);
    write('class/net/eth0/statistics/rx_bytes', rx);
    write('class/net/eth0/statistics/tx_bytes', tx);
  };

  it('is what the busier direction of an interface has carried since the last look', async () => {
    ethernet(1000, 5, 5);
    const meter = await LinkMeter.open('eth0', clock, sysfs);
    await clock.advance(2000);
    ethernet(1000, 5 + 125e6, 5);
    assert.equal(await meter.percent(), 50);
    await clock.advance(1000);
    assert.equal(await meter.percent(), 0);
    await clock.advance(1000);
    ethernet(1000, 125e5, 0);
    assert.equal(await meter.percent(), 10, 'the counter has begun anew');
    rmSync(join(sysfs, 'class'), { recursive: true });
    await assert.rejects(meter.percent(), { code: 'UNAVAILABLE' });
  });

  it('is counted in words by an HCA', async () => {
    const port = 'class/infiniband/mlx5_0/ports/1';
    write(`${port}/rate`, '400 Gb/sec (4X NDR)');
    write(`${port}/counters/port_xmit_data`, 0);
    write(`${port}/counters/port_rcv_data`, 0);
    const meter = await LinkMeter.open('mlx5_0', clock, sysfs);
    await clock.advance(1000);
    write(`${port}/counters/port_rcv_data`, 50e9 / 4);
    assert.equal(await meter.percent(), 100);
  });

  it('is not made up for a device that is not there, or does not say how fast it is', async () => {
    ethernet(-1, 0, 0);
    await assert.rejects(LinkMeter.open('eth0', clock, sysfs), /does not say how fast it is/);
    for (const name of ['eth9', '../net/eth0', '', '.']) {
      await assert.rejects(LinkMeter.open(name, clock, sysfs), { code: 'INVALID_ARGUMENT' });
    }
  });
});
