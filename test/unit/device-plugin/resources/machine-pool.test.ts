import assert from 'node:assert/strict';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import type { Inventory } from '../../../../device-plugin/discovery/index.ts';
import { HealthTracker } from '../../../../device-plugin/health/index.ts';
import { type DeviceId, deviceId, resourceName } from '../../../../device-plugin/kubelet/index.ts';
import {
  type Cause,
  MachinePool,
  type ResourceKind,
  type UnitState,
} from '../../../../device-plugin/resources/index.ts';
import { inventoryOf } from '../../../support/recorded-machine.ts';

const DOWN: Cause = { code: 'link', detail: 'the link is down' };
const RECOVER_MS = 1000;

/** A pool over a machine and a kind that the test holds in its hands. */
class Rig {
  readonly clock = new SimClock();
  readonly lines: string[] = [];
  readonly prepared: (readonly DeviceId[])[] = [];
  readonly withheld = new Map<string, Cause>();
  states: readonly UnitState[];
  told = 0;
  readonly pool: MachinePool;
  readonly #inventory: Inventory;
  readonly #listeners = new Set<() => void>();

  constructor(inventory: Inventory, states: readonly UnitState[]) {
    this.#inventory = inventory;
    this.states = states;
    this.pool = new MachinePool({
      kind: this.kind(),
      machine: {
        inventory,
        watch: (listener) => {
          this.#listeners.add(listener);
          return () => this.#listeners.delete(listener);
        },
      },
      health: this.tracker(),
      withheld: (device) => this.withheld.get(device),
      logger: this.#logger(),
    });
    this.pool.watch(() => this.told++);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  get list(): string[] {
    return this.pool.devices().map(({ id, healthy }) => (healthy ? id : `!${id}`));
  }

  tracker(): HealthTracker {
    return new HealthTracker({ clock: this.clock, logger: silentLogger, recoverMs: RECOVER_MS });
  }

  kind(more: Partial<ResourceKind> = {}): ResourceKind {
    return {
      resource: resourceName('nabustore.io/rdma'),
      options: { preStartRequired: true, getPreferredAllocationAvailable: true },
      units: () => this.states,
      grant: (units) => ({
        devices: [],
        mounts: [],
        environment: { IDS: units.map(({ id }) => id).join() },
        annotations: {},
        cdiDevices: [],
      }),
      prepare: async (units) => void this.prepared.push(units.map(({ id }) => id)),
      ...more,
    };
  }

  /** The machine shows these from now on. */
  show(states: readonly UnitState[]): void {
    this.states = states;
    for (const listener of this.#listeners) listener();
  }

  async allocate(...ids: string[]): Promise<string | undefined> {
    using deadline = new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 1000 });
    const grant = await this.pool.allocate(
      ids.map((id) => deviceId(id)),
      deadline,
    );
    assert.notEqual(this.#inventory, undefined);
    return grant.environment.IDS;
  }

  #logger(): Logger {
    const logger: Logger = {
      ...silentLogger,
      error: (message) => void this.lines.push(message),
      child: () => logger,
    };
    return logger;
  }
}

function unit(id: string, causes: readonly Cause[] = []): UnitState {
  return { id: deviceId(id), device: id.replace(/-\d+$/, ''), numaNodes: [0], pcieRoot: null, causes };
}

describe('a resource on a machine that changes', () => {
  let inventory: Inventory;
  let rig: Rig;

  before(async () => {
    inventory = await inventoryOf('vm-empty');
  });

  beforeEach(() => {
    rig = new Rig(inventory, [unit('a-0'), unit('b-0', [DOWN])]);
  });

  afterEach(() => rig.pool.close());

  it('lists what the machine shows, and turns with it: ill at once, well after a while', async () => {
    assert.deepEqual(rig.list, ['a-0', '!b-0']);
    rig.show([unit('a-0', [DOWN]), unit('b-0')]);
    assert.deepEqual(rig.list, ['!a-0', '!b-0']);
    assert.equal(rig.told, 1);
    await rig.clock.advance(RECOVER_MS + 1);
    assert.deepEqual([rig.list, rig.told], [['!a-0', 'b-0'], 2]);
  });

  it('keeps a unit that is gone in its list, and says why it is gone', async () => {
    rig.show([unit('b-0')]);
    assert.deepEqual(rig.list, ['!b-0', '!a-0']);
    assert.deepEqual(rig.pool.units[1]?.causes, [{ code: 'absent', detail: 'a is not there any more' }]);
    rig.show([unit('a-0'), unit('b-0')]);
    await rig.clock.advance(RECOVER_MS + 1);
    assert.deepEqual(rig.list, ['a-0', 'b-0']);
  });

  it('says why a unit is gone in the words of its kind where that has any', () => {
    const cause: Cause = { code: 'driver', detail: 'it is bound to nvme' };
    rig.pool.use(rig.kind({ missing: ({ id }) => (id === 'a-0' ? cause : undefined) }));
    rig.show([]);
    assert.deepEqual(
      rig.pool.units.map(({ causes }) => causes[0]?.code),
      ['driver', 'absent'],
    );
  });

  it('remembers 4,096 units that are gone, those that went last', () => {
    rig.show(Array.from({ length: 5000 }, (_, at) => unit(`c${at}-0`)));
    rig.show([]);
    assert.equal(rig.pool.units.length, 4096);
    assert.deepEqual([rig.pool.units[0]?.id, rig.pool.units.at(-1)?.id], ['c904-0', 'c4999-0']);
  });

  it('forgets units that another configuration does not have', () => {
    rig.show([unit('b-0')]);
    rig.states = [unit('b-0'), unit('b-1')];
    rig.pool.use(rig.kind());
    assert.deepEqual(rig.list, ['!b-0', 'b-1']);
  });

  it('stays as it was when another configuration cannot be used', () => {
    const units = (): never => {
      throw new RangeError('no units');
    };
    assert.throws(() => rig.pool.use(rig.kind({ units })), /no units/);
    const other = { preStartRequired: false, getPreferredAllocationAvailable: true };
    assert.throws(() => rig.pool.use(rig.kind({ options: other })), { code: 'INVALID_ARGUMENT' });
    rig.show([unit('a-0', [DOWN])]);
    assert.deepEqual(rig.list, ['!a-0', '!b-0']);
  });

  it('stays as it was when the units of a machine cannot be told, and goes on after', () => {
    let isBroken = false;
    const units = (): readonly UnitState[] => {
      if (isBroken) throw new RangeError('no units');
      return rig.states;
    };
    rig.pool.use(rig.kind({ units }));
    isBroken = true;
    rig.show([]);
    assert.deepEqual(rig.list, ['a-0', '!b-0']);
    assert.deepEqual(rig.lines, ['the units of the machine cannot be told: those before stand']);
    isBroken = false;
    rig.show([unit('a-0', [DOWN])]);
    assert.deepEqual(rig.list, ['!a-0', '!b-0']);
  });

  it('holds back what is withheld, whatever the machine says', () => {
    rig.withheld.set('a', { code: 'mode', detail: 'a claim has it' });
    rig.pool.refresh();
    assert.deepEqual(rig.list, ['!a-0', '!b-0']);
    assert.equal(rig.pool.units[0]?.causes[0]?.code, 'mode');
  });

  it('is judged anew by another judge: what recovers may be well at once', () => {
    rig.show([unit('a-0'), unit('b-0')]);
    assert.deepEqual(rig.list, ['a-0', '!b-0']);
    rig.pool.judgeBy(rig.tracker());
    assert.deepEqual(rig.list, ['a-0', 'b-0']);
    assert.ok(rig.told > 0);
  });

  it('gives healthy units alone, and looks at them again before the container starts', async () => {
    assert.equal(await rig.allocate('a-0'), 'a-0');
    await assert.rejects(rig.allocate('a-0', 'b-0'), { code: 'DEVICE_UNHEALTHY' });
    await assert.rejects(rig.allocate('z-0'), { code: 'DEVICE_NOT_FOUND' });
    using deadline = new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 1000 });
    await rig.pool.prepare([deviceId('a-0')], deadline);
    await assert.rejects(rig.pool.prepare([deviceId('b-0')], deadline), { code: 'DEVICE_UNHEALTHY' });
    assert.deepEqual(rig.prepared, [['a-0']]);
  });

  it('lets go of the machine when it is closed', () => {
    assert.equal(rig.listeners, 1);
    rig.pool.close();
    assert.equal(rig.listeners, 0);
    assert.equal(rig.clock.pendingTimers, 0);
  });
});
