import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { epoch } from '../../../../engine/blob/index.ts';
import { ControlFollower } from '../../../../engine/node/control-follower.ts';
import { NodeMap } from '../../../../engine/node/index.ts';
import type { ClusterMap } from '../../../../engine/placement/index.ts';
import { mapOf } from '../../../support/memory-node.ts';

/** Control that is there or away, gives maps one by one, and ends a watch when it goes. */
class FakeControl {
  map: ClusterMap = mapOf(2, ['node-1']);
  genesis = false;
  away = false;
  registrations = 0;
  #wake: (() => void) | undefined;

  change(): void {
    this.#wake?.();
  }

  async registerNode(): Promise<{ map: ClusterMap; genesis: boolean }> {
    this.registrations++;
    this.#check();
    return { map: this.map, genesis: this.genesis };
  }

  async getMap(): Promise<ClusterMap> {
    return this.map;
  }

  async *watchMap(knownEpoch: number, signal: AbortSignal): AsyncGenerator<ClusterMap> {
    for (let last = knownEpoch; ; ) {
      this.#check();
      if (this.map.epoch > last) {
        last = this.map.epoch;
        yield this.map;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve());
      });
      if (signal.aborted) throw NabuError.of('CANCELLED', { operation: 'watch' });
    }
  }

  #check(): void {
    if (this.away) throw NabuError.of('UNAVAILABLE', { target: 'control', reason: 'away' });
  }
}

describe('a node that follows control', () => {
  let control: FakeControl;
  let map: NodeMap;
  let clock: SimClock;
  let stop: AbortController;
  let done: Promise<void>;
  let taken: number;

  const start = (): void => {
    const follower = new ControlFollower({
      control,
      map,
      node: { nodeId: 'node-1' },
      onGenesis: async () => {
        taken++;
      },
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
    });
    done = follower.run(stop.signal);
  };

  beforeEach(() => {
    control = new FakeControl();
    map = new NodeMap(mapOf(1, []));
    clock = new SimClock();
    stop = new AbortController();
    taken = 0;
  });
  afterEach(async () => {
    stop.abort();
    control.change();
    await done;
  });

  it('announces itself, takes the map, and every later one', async () => {
    start();
    await clock.advance(1);
    assert.equal(map.current().epoch, 2);
    control.map = mapOf(3, ['node-1', 'node-2']);
    control.change();
    await clock.advance(1);
    assert.equal(map.current().epoch, 3);
    assert.equal(control.registrations, 1);
    assert.equal(taken, 0);
  });

  it('learns that there is nothing to take over', async () => {
    control.genesis = true;
    start();
    await clock.advance(1);
    assert.equal(taken, 1);
  });

  it('keeps the last map while control is away, and announces itself again when it is back', async () => {
    start();
    await clock.advance(1);
    control.away = true;
    control.change();
    await clock.advance(60_000);
    assert.equal(map.current().epoch, 2);
    const tries = control.registrations;
    assert(tries > 3 && tries < 100, `${tries} tries in a minute`);
    control.away = false;
    control.map = mapOf(9, ['node-1']);
    await clock.advance(10_000);
    assert.equal(map.current().epoch, 9);
  });

  it('looks at once when a peer knows of a newer map', async () => {
    control.away = true;
    start();
    await clock.advance(60_000);
    control.away = false;
    const tries = control.registrations;
    map.hint(epoch(2));
    await clock.advance(1);
    assert.equal(control.registrations, tries + 1);
    assert.equal(map.current().epoch, 2);
  });
});
