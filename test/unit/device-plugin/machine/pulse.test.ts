import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import type { Probe, PulseNews } from '../../../../device-plugin/machine/index.ts';
import { ThreadedPulse } from '../../../../device-plugin/machine/pulse/native.ts';
import { eventually } from '../../../support/kubelet-double.ts';

const BOUND_MS = 10_000;

describe('the pulse', () => {
  let folder: string;
  let pulse: ThreadedPulse | undefined;
  let news: PulseNews[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nabu-pulse-'));
    news = [];
  });

  afterEach(() => {
    pulse?.close();
    pulse = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  function opened(everyMs = 10): ThreadedPulse {
    pulse = new ThreadedPulse({ everyMs, hangMs: 1000, onNews: (told) => news.push(told) });
    return pulse;
  }

  function write(name: string, text: string): void {
    writeFileSync(join(folder, '.new'), text);
    renameSync(join(folder, '.new'), join(folder, name));
  }

  const signal = (): AbortSignal => AbortSignal.timeout(BOUND_MS);
  const probe = (kind: Probe['kind'], name: string): Probe => ({ kind, path: join(folder, name) });
  const told = (): number[] => news.flatMap(({ changed }) => [...changed]);

  it('has looked at everything once when it is watched, and that is no news', async () => {
    write('state', 'ACTIVE');
    await opened().watch([probe('text', 'state'), probe('node', 'missing')], signal());
    assert.deepEqual(news, []);
  });

  it('tells a change by its place, of each kind of thing', async () => {
    write('state', 'ACTIVE');
    await opened().watch(
      [probe('text', 'state'), probe('names', ''), probe('link', 'driver'), probe('node', 'uverbs0')],
      signal(),
    );
    write('state', 'DOWN');
    await eventually('the text', () => told().includes(0), BOUND_MS, told);
    write('uverbs0', '');
    await eventually('the node and the folder', () => told().includes(3) && told().includes(1), BOUND_MS, told);
    assert(!told().includes(2));
  });

  it('looks at nothing that it is not told to any more', async () => {
    await opened().watch([probe('text', 'a'), probe('text', 'b')], signal());
    await pulse?.watch([probe('text', 'b')], signal());
    write('a', 'x');
    write('b', 'x');
    await eventually('b', () => told().includes(0), BOUND_MS, told);
    assert.deepEqual(told(), [0]);
  });

  it('refuses times and things that are none, and a watch after its end, by their names', async () => {
    for (const everyMs of [0, -1, Number.NaN, 1e12]) {
      assert.throws(
        () => opened(everyMs),
        (err) => NabuError.is(err, 'INVALID_ARGUMENT') && err.fields.field === 'everyMs',
      );
    }
    const closed = opened();
    closed.close();
    closed.close();
    await assert.rejects(closed.watch([], signal()), (err) => NabuError.is(err, 'FAILED_PRECONDITION'));
  });

  it('gives up waiting for the first look when it is told to', async () => {
    const stop = new AbortController();
    const waiting = opened().watch([probe('text', 'a')], stop.signal);
    stop.abort();
    await assert.rejects(waiting, (err) => NabuError.is(err, 'CANCELLED'));
  });
});
