import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { z } from 'zod';
import { NabuError } from '../../../../common/errors/index.ts';
import { createLogger } from '../../../../common/logging/index.ts';

class Sink extends Writable {
  text = '';
  readonly isTTY: boolean;
  constructor(isTTY = false) {
    super();
    this.isTTY = isTTY;
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
  lines(): Record<string, unknown>[] {
    const text = this.text.trim();
    return text === '' ? [] : text.split('\n').map((line) => z.record(z.string(), z.unknown()).parse(JSON.parse(line)));
  }
}

describe('the log', () => {
  it('is one JSON object per event, with the fields of its component', () => {
    const stream = new Sink();
    const logger = createLogger({ stream, fields: { binary: 'stor' } }).child({ component: 'store' });
    logger.info('opened', { device: 'd', sizeBytes: 2n ** 60n });
    logger.child({ volume: 'v' }).warn('slow\nline');
    const [first, second] = stream.lines();
    assert.equal(first?.message, 'opened');
    assert.equal(first?.level, 'info');
    assert.equal(first?.binary, 'stor');
    assert.equal(first?.component, 'store');
    assert.equal(first?.sizeBytes, '1152921504606846976');
    assert(!Number.isNaN(Date.parse(String(first?.time))));
    assert.equal(second?.volume, 'v');
    assert.equal(second?.message, 'slow\nline');
  });

  it('keeps to its level', () => {
    const stream = new Sink();
    const logger = createLogger({ stream, level: 'warn' });
    logger.info('no');
    logger.debug('no');
    logger.error('yes');
    assert.equal(stream.lines().length, 1);
    assert(logger.isEnabled('warn') && !logger.isEnabled('info'));
  });

  it('never writes the value of a field named like a secret', () => {
    const stream = new Sink();
    createLogger({ stream }).info('login', {
      password: 'hunter2',
      nested: { apiToken: 'hunter2', list: [{ privateKey: 'hunter2' }] },
      secrets: new Map([['a', 'hunter2']]),
      key: 'visible',
      keyBytes: new TextEncoder().encode('hunter2'),
    });
    assert.doesNotMatch(stream.text, /hunter2/);
    assert.match(stream.text, /visible/);
  });

  it('shows an error with its code and causes, and a field called message beside the message', () => {
    const stream = new Sink();
    const cause = new Error('disk on fire');
    const err = NabuError.of('DEVICE_FAILED', { device: 'd', reason: 'r' }, { cause });
    createLogger({ stream }).error('failed', { error: err, level: 'tricky' });
    const [line] = stream.lines();
    assert.equal(line?.level, 'error');
    assert.match(stream.text, /DEVICE_FAILED/);
    assert.match(stream.text, /disk on fire/);
  });

  it('survives fields that refer to themselves', () => {
    const stream = new Sink();
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    createLogger({ stream }).info('loop', { loop });
    assert.equal(stream.lines().length, 1);
  });

  it('reads as text on a terminal', () => {
    const stream = new Sink(true);
    createLogger({ stream }).info('opened', { device: 'd', password: 'hunter2' });
    assert.match(stream.text, /^\d\d:\d\d:\d\d\.\d{3} info {2}opened device=d password=<redacted>\n$/);
  });
});
