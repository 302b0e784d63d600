import assert from 'node:assert/strict';
import { bestOf, loadSeconds, Occupancy, type OracleNode, type OraclePod, type Part } from './oracle.ts';

const GB = 1e9;

function node(name: string, given: Partial<OracleNode> = {}): OracleNode {
  return {
    name,
    zone: 'a',
    rack: `rack of ${name}`,
    rail: '',
    linkLoad: 0,
    linkGbps: undefined,
    reachesStorage: true,
    allocatable: { cpu: 1, memory: 1, gpu: 1, pods: 1 },
    attachLimit: 1,
    ...given,
  };
}

const cached = (host: OracleNode, share = 1): Part => ({ ...host, share, host: host.name });
const model = (...parts: Part[]) => [{ bytes: 140 * GB, parts }];
const isAbout = (actual: number, expected: number): void => assert(Math.abs(actual - expected) < 0.02, `${actual}`);

describe('the oracle of the scale tests', () => {
  const holder = node('holder', { rack: 'r', rail: '1' });

  it('computes what the guide works out by hand', () => {
    isAbout(loadSeconds(holder, model(cached(holder))), 7);
    isAbout(loadSeconds(node('in its rack', { rack: 'r' }), model(cached(holder))), 17.5);
    isAbout(loadSeconds(node('in its zone'), model(cached(holder))), 35);
    isAbout(loadSeconds(node('elsewhere', { zone: 'b' }), model(cached(holder))), 280);
    const half = node('half');
    isAbout(loadSeconds(half, model(cached(holder), cached(half, 0.5))), 21);
    isAbout(loadSeconds(node('busy', { rack: 'r', linkLoad: 0.5 }), model(cached(holder))), 35);
    isAbout(loadSeconds(node('slow', { rack: 'r', linkGbps: 25 }), model(cached(holder))), 44.8);
    const even = ['a', 'b', 'c'].map((zone) => ({ share: 1 / 3, host: `stor-${zone}`, zone, rack: '', rail: '' }));
    isAbout(loadSeconds(node('any'), [{ bytes: 100 * GB, parts: even }]), 141.67);
  });

  it('takes bytes from the nearest first, whatever crosses what', () => {
    const onRail = node('on its rail', { rail: '1' });
    isAbout(loadSeconds(onRail, model(cached(holder))), 140 / 12);
    const inRack = node('in the rack of another', { rack: 'r', rail: '2' });
    const both = node('near to both', { rack: 'r', rail: '3' });
    const other = node('other', { rail: '3' });
    assert(loadSeconds(inRack, model(cached(holder, 0.5))) > loadSeconds(inRack, model(cached(holder))));
    isAbout(loadSeconds(both, model(cached(holder, 0.5), cached(other, 0.5))), 70 / 12 + 70 / 8);
  });

  it('knows the best node that is neither full nor cut off', () => {
    const [first, second] = [node('first'), node('second', { zone: 'b' })];
    const pod: OraclePod = {
      name: 'p',
      asks: { cpu: 1, memory: 1, gpu: 0, pods: 1 },
      volumes: 0,
      readings: model(cached(first)),
    };
    const occupancy = new Occupancy();
    assert.equal(bestOf(pod, [second, first], occupancy)?.node, first);
    occupancy.place(pod, first);
    assert.equal(occupancy.refuses(pod, first), 'it is full');
    assert.equal(bestOf(pod, [second, first], occupancy)?.node, second);
    const cutOff = node('cut off', { reachesStorage: false });
    assert.match(occupancy.refuses(pod, cutOff) ?? '', /storage/);
    assert.match(occupancy.refuses({ ...pod, volumes: 2 }, second) ?? '', /attached/);
    assert.equal(bestOf(pod, [cutOff], occupancy), undefined);
  });
});
