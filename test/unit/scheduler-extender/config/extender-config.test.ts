import assert from 'node:assert/strict';
import { parseConfig, referenceRows } from '../../../../common/config/index.ts';
import { EXTENDER_CONFIG, labelsOf, rulesOf, tlsOf } from '../../../../scheduler-extender/config/index.ts';
import { DEFAULT_RULES } from '../../../../scheduler-extender/decide/index.ts';

const parse = (flags: Record<string, unknown> = {}) => parseConfig(EXTENDER_CONFIG, { flags });

describe('the configuration of the extender', () => {
  it('says by default what the rules say by default', () => {
    const rules = rulesOf(parse());
    assert.deepEqual(rules, DEFAULT_RULES);
    assert.equal(labelsOf(parse()).zone[0], 'topology.nabustore.io/zone');
    assert.equal(tlsOf(parse()), undefined);
  });

  it('takes figures for each distance only in the order that distance gives them', () => {
    const rules = rulesOf(parse({ bandwidthGbytes: '40, 20,20,10,1', roundTripUs: '1,2,3,4,5' }));
    assert.equal(rules.weights.bytesPerSecond.rail, 20e9);
    for (const flags of [
      { bandwidthGbytes: '1,2,3,4,5' },
      { roundTripUs: '5,4,3,2,1' },
      { roundTripUs: '1,2,3' },
      { bandwidthGbytes: '5,4,3,2,0' },
      { bandwidthGbytes: 'fast' },
    ])
      assert.throws(() => rulesOf(parse(flags)), {
        code: 'CONFIG_INVALID',
        message: /five numbers above 0 for host, rail, rack, zone, far/,
      });
  });

  it('takes a certificate only with its key', () => {
    assert.throws(() => tlsOf(parse({ tlsCert: 'x' })), { code: 'CONFIG_INVALID' });
    assert.throws(() => tlsOf(parse({ clientCa: 'x' })), { code: 'CONFIG_INVALID' });
    assert.deepEqual(tlsOf(parse({ tlsCert: 'x', tlsKey: 'y', clientCa: 'z' })), {
      certFile: 'x',
      keyFile: 'y',
      clientCaFile: 'z',
    });
  });

  it('describes each option for its help', () => {
    for (const { description, type } of referenceRows(EXTENDER_CONFIG))
      assert(description.length > 5 && type !== 'value');
  });
});
