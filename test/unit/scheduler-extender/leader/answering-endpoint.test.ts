import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { AnsweringEndpoint } from '../../../../scheduler-extender/leader/index.ts';

function setUp() {
  const clock = new SimClock();
  const said: string[] = [];
  const state = { isAnswering: false, isReachable: true, heldMs: 0 };
  const say = async (what: string): Promise<void> => {
    if (!state.isReachable) throw new Error('unreachable');
    said.push(what);
  };
  const endpoint = new AnsweringEndpoint({
    store: { write: () => say('me'), clear: () => say('nobody') },
    isAnswering: () => state.isAnswering,
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs() + state.heldMs,
      setTimer: (callback, delayMs) => clock.setTimer(callback, delayMs),
      sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
    },
    logger: silentLogger,
  });
  endpoint.start();
  return { clock, said, state, endpoint };
}

describe('the Service of those who answer in turn', () => {
  it('leads to the one that answers, once it does, and to nobody when it does not any more', async () => {
    const { clock, said, state, endpoint } = setUp();
    await clock.advance(5000);
    assert.deepEqual(said, []);
    state.isAnswering = true;
    await clock.advance(1000);
    assert.deepEqual(said, ['me']);
    state.isAnswering = false;
    await clock.advance(1000);
    assert.deepEqual(said, ['me', 'nobody']);
    state.isAnswering = true;
    await clock.advance(1000);
    assert.deepEqual(said, ['me', 'nobody', 'me']);
    await endpoint.stop();
  });

  it('is led there as soon as the API server can be asked', async () => {
    const { clock, said, state, endpoint } = setUp();
    state.isAnswering = true;
    state.isReachable = false;
    await clock.advance(3000);
    assert.deepEqual(said, []);
    state.isReachable = true;
    await clock.advance(1000);
    assert.deepEqual(said, ['me']);
    await endpoint.stop();
  });

  it('is led there again where somebody has taken that away', async () => {
    const { clock, said, state, endpoint } = setUp();
    state.isAnswering = true;
    await clock.advance(11_000);
    assert.deepEqual(said, ['me', 'me', 'me']);
    await endpoint.stop();
  });

  it('is led there again at once by one that was held: the gate takes it from one that hangs', async () => {
    const { clock, said, state, endpoint } = setUp();
    state.isAnswering = true;
    await clock.advance(1000);
    state.heldMs = 3000;
    await clock.advance(300);
    assert.deepEqual(said, ['me', 'me']);
    await endpoint.stop();
  });
});
