import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type DeviceId, deviceId } from '../../../../device-plugin/kubelet/index.ts';
import { rdmaKind, type Unit } from '../../../../device-plugin/resources/index.ts';
import { preferred } from '../../../../device-plugin/resources/preferred.ts';
import { inventoryOf, pathsOf, rdmaConfig } from '../../../support/recorded-machine.ts';

const REQUESTS = 1000;
/** All ways to choose from these can be tried. */
const MOST_AVAILABLE = 12;

type Request = { readonly available: DeviceId[]; readonly mustInclude: DeviceId[]; readonly size: number };

/** What the documentation promises, as figures of which the first that differ decide; less is better. */
function scoreOf(chosen: readonly DeviceId[], { available, mustInclude }: Request, units: ReadonlyMap<DeviceId, Unit>) {
  const unitOf = (id: DeviceId): Unit => {
    const unit = units.get(id);
    assert.ok(unit !== undefined);
    return unit;
  };
  const must = new Set(mustInclude);
  const roots = new Set(mustInclude.map((id) => unitOf(id).pcieRoot));
  const onRoot = chosen.filter((id) => roots.has(unitOf(id).pcieRoot)).length;
  const nodes = new Set(chosen.map((id) => unitOf(id).numaNodes.join())).size;
  const perDevice = Map.groupBy(chosen, (id) => unitOf(id).device);
  const crowding = [...perDevice.values()].reduce((sum, ids) => sum + ids.length ** 2, 0);
  const left = (id: DeviceId): number =>
    available.filter((other) => !must.has(other) && unitOf(other).device === unitOf(id).device).length;
  const room = chosen.filter((id) => !must.has(id)).reduce((sum, id) => sum + left(id), 0);
  return [-onRoot, nodes, crowding, -room];
}

function isWorse(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((figure, index) => figure !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

function* waysToChoose(from: readonly DeviceId[], count: number): Generator<readonly DeviceId[]> {
  if (count === 0) yield [];
  else {
    for (const [at, id] of from.entries()) {
      for (const rest of waysToChoose(from.slice(at + 1), count - 1)) yield [id, ...rest];
    }
  }
}

describe('preferred allocation', () => {
  const units = new Map<DeviceId, Unit>();

  before(async () => {
    const machine = await inventoryOf('h200-8gpu');
    const kind = rdmaKind(rdmaConfig({ slots: 4 }), pathsOf(), []);
    for (const unit of kind.units(machine)) units.set(unit.id, unit);
    assert.equal(units.size, 24);
  });

  const request = (): fc.Arbitrary<Request> =>
    fc
      .shuffledSubarray([...units.keys()], { minLength: 1, maxLength: MOST_AVAILABLE })
      .chain((available) =>
        fc
          .integer({ min: 1, max: available.length })
          .chain((size) =>
            fc
              .shuffledSubarray(available, { maxLength: size })
              .map((mustInclude) => ({ available, mustInclude, size })),
          ),
      );

  it(`answers ${REQUESTS} random requests on the recorded H200 node as well as any choice could`, () => {
    fc.assert(
      fc.property(request(), (wanted) => {
        const { available, mustInclude, size } = wanted;
        const chosen = preferred(units, available, mustInclude, size);
        assert.equal(new Set(chosen).size, size);
        assert.ok(chosen.every((id) => available.includes(id)));
        assert.ok(mustInclude.every((id) => chosen.includes(id)));
        const score = scoreOf(chosen, wanted, units);
        const others = available.filter((id) => !mustInclude.includes(id));
        for (const more of waysToChoose(others, size - mustInclude.length)) {
          const other = scoreOf([...mustInclude, ...more], wanted, units);
          assert.ok(!isWorse(score, other), `${[...mustInclude, ...more]} is better than ${chosen}`);
        }
      }),
      { numRuns: REQUESTS },
    );
  });

  it('stays on the root of what must be included, then on its NUMA node', () => {
    const ids = (text: string): DeviceId[] => text.split(' ').map((id) => deviceId(id));
    const available = ids('0000:9c:00.0-0 0000:9c:00.0-1 0000:3c:00.0-0 0000:1a:00.0-0 0000:1a:00.0-3');
    const must = ids('0000:1a:00.0-3');
    assert.deepEqual(preferred(units, available, must, 2), ids('0000:1a:00.0-3 0000:1a:00.0-0'));
    assert.deepEqual(preferred(units, available, must, 3), ids('0000:1a:00.0-3 0000:1a:00.0-0 0000:3c:00.0-0'));
  });

  it('takes an HCA each for two units when they may be anywhere, both on one NUMA node', () => {
    const chosen = preferred(units, [...units.keys()], [], 2).map((id) => units.get(id));
    assert.equal(new Set(chosen.map((unit) => unit?.device)).size, 2);
    assert.equal(new Set(chosen.map((unit) => unit?.numaNodes.join())).size, 1);
  });

  it('chooses 16 of 1,000 units on 16 NUMA nodes without trying all ways', () => {
    const many = new Map(
      Array.from({ length: 1000 }, (_, at) => {
        const unit = {
          id: deviceId(`d${at}`),
          device: `d${at % 250}`,
          numaNodes: [at % 16],
          pcieRoot: `pci${at % 64}`,
        };
        return [unit.id, unit] as const;
      }),
    );
    assert.equal(new Set(preferred(many, [...many.keys()], [], 16)).size, 16);
    assert.equal(new Set(preferred(many, [...many.keys()], [deviceId('d1'), deviceId('d2')], 600)).size, 600);
  });
});
