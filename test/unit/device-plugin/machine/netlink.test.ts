import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { KernelEvent } from '../../../../device-plugin/machine/index.ts';
import { NetlinkEvents } from '../../../../device-plugin/machine/netlink/native.ts';
import { eventually } from '../../../support/kubelet-double.ts';
import { skip } from '../../../support/skip.ts';

const BOUND_MS = 10_000;
const UEVENT = '/sys/class/net/lo/uevent';

describe("the kernel's events", () => {
  let events: NetlinkEvents;
  let heard: KernelEvent[];

  beforeEach(() => {
    events = new NetlinkEvents();
    heard = [];
    events.listen((some) => heard.push(...some));
  });

  afterEach(() => events.close());

  const isProvoked = (event: KernelEvent): boolean =>
    event.kind === 'device' && event.devicePath === '/devices/virtual/net/lo' && event.action === 'change';

  function provoke(context: Mocha.Context): void {
    try {
      writeFileSync(UEVENT, 'change');
    } catch {
      skip(context, `right to write ${UEVENT}`);
    }
  }

  it('are heard with what happened, where, and to what kind of device', async function () {
    provoke(this);
    await eventually('the event', () => heard.some(isProvoked), BOUND_MS);
    const event = heard.find(isProvoked);
    assert.deepEqual(event, {
      kind: 'device',
      action: 'change',
      devicePath: '/devices/virtual/net/lo',
      subsystem: 'net',
    });
    assert(events.counts.events > 0);
  });

  it('are not heard by one who has stopped to listen', async function () {
    const late: KernelEvent[] = [];
    const stop = events.listen((some) => late.push(...some));
    stop();
    provoke(this);
    await eventually('the event', () => heard.some(isProvoked), BOUND_MS);
    assert.deepEqual(late, []);
  });

  it('do not come any more after the end, which may be told twice', async function () {
    const { counts } = events;
    events.close();
    events.close();
    const other = new NetlinkEvents();
    try {
      const others: KernelEvent[] = [];
      other.listen((some) => others.push(...some));
      provoke(this);
      await eventually('another one hears', () => others.some(isProvoked), BOUND_MS);
    } finally {
      other.close();
    }
    assert.deepEqual(heard.filter(isProvoked), []);
    assert(events.counts.events >= counts.events);
  });

  it('may end within what hears them', async function () {
    events.listen(() => events.close());
    provoke(this);
    await eventually('the event', () => heard.some(isProvoked), BOUND_MS);
  });
});
