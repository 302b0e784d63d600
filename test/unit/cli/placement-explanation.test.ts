import assert from 'node:assert/strict';
import { describeExplanation, explanationSchema } from '../../../cli/placement-explanation.ts';
import { SimClock } from '../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../scheduler-extender/decide/index.ts';
import { Reservations } from '../../../scheduler-extender/reservations/index.ts';
import { podObject, TestCluster } from '../../support/extender/objects.ts';

describe('the explanation of a placement', () => {
  it('shows the best first with where its bytes come from, and each reason of a refusal once', () => {
    const cluster = new TestCluster().storageClass('fast').bound('c');
    for (const name of ['near', 'far']) cluster.node(name, { rack: name });
    for (const name of ['bare-1', 'bare-2', 'bare-3', 'bare-4']) {
      cluster.node(name);
      cluster.index.remove('csiNode', name);
    }
    cluster.model('m', 100e9, { near: 100e9 });
    const extender = new Extender({
      index: cluster.index,
      reservations: new Reservations(new SimClock()),
      rules: DEFAULT_RULES,
    });
    const pod = podObject('p', { claims: ['c'], annotations: { 'nabustore.io/models': 'm' } });
    const names = ['far', 'bare-1', 'bare-2', 'bare-3', 'bare-4', 'near'];
    const answer = extender.explain(Buffer.from(JSON.stringify({ Pod: pod, Nodes: null, NodeNames: names })));
    const text = describeExplanation(explanationSchema.parse(JSON.parse(JSON.stringify(answer))), 10);
    assert.match(text, /^pod ns\/p, locality preferred: 2 of 6 nodes can take it\n/);
    assert.match(text, /reads 93\.1 GiB of model "m"/);
    assert(text.indexOf('near') < text.indexOf('far'), text);
    assert.match(text, /near +a\/near +10 +5\.\d s +.*host 5\.0 s/);
    assert.match(text, /4 refused: the NabuStore plugin .* is not registered/);
    assert.match(text, /bare-1, bare-2, bare-3 and 1 more/);
  });
});
