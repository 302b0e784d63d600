import assert from 'node:assert/strict';
import { candidateName, MAX_CANDIDATES, parseExtenderArgs } from '../../../../scheduler-extender/wire/index.ts';

const body = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function namesOf(bytes: Buffer): string[] {
  const { candidates } = parseExtenderArgs(bytes);
  return Array.from({ length: candidates.count }, (_, at) => candidateName(candidates, at));
}

describe('the body of a filter or prioritize call', () => {
  it('names its nodes by names alone, or by whole nodes', () => {
    assert.deepEqual(namesOf(body({ Pod: { a: 1 }, Nodes: null, NodeNames: ['n1', 'n2'] })), ['n1', 'n2']);
    const items = [
      { metadata: { labels: { name: 'x' }, name: 'n1' } },
      { status: {}, metadata: { name: 'n2', uid: 'u' } },
    ];
    const { candidates, pod } = parseExtenderArgs(
      body({ Pod: { a: 1 }, Nodes: { metadata: {}, items }, NodeNames: null }),
    );
    assert.equal(candidates.form, 'nodes');
    assert.deepEqual([candidateName(candidates, 0), candidateName(candidates, 1)], ['n1', 'n2']);
    const sent = Buffer.from(candidates.body.subarray(candidates.itemFrom[1], candidates.itemTo[1])).toString();
    assert.deepEqual(JSON.parse(sent), items[1]);
    assert.deepEqual(pod, { a: 1 });
  });

  it('passes over what it does not know, wherever it stands', () => {
    const text = '{"x":[{"NodeNames":["no"]}],"NodeNames" : [ "n1" ,\n"n2" ] , "Pod":{"deep":{"Pod":1}},"y":-1e3}';
    assert.deepEqual(namesOf(Buffer.from(text)), ['n1', 'n2']);
  });

  it('has the names that it says where its list is that of the request before, or begins like it', () => {
    const lists = [['n1', 'n2'], ['n1', 'n2'], ['n1'], ['n1', 'n2', 'n3'], [], ['n1', 'n2', 'n3']];
    for (const pod of [{}, { a: 1 }, {}, { longer: 'than the one before' }])
      for (const list of lists) assert.deepEqual(namesOf(body({ Pod: pod, NodeNames: list })), list);
    namesOf(body({ NodeNames: ['n1', 'n2'] }));
    assert.deepEqual(namesOf(body({ Nodes: { items: [{ metadata: { name: 'other' } }] } })), ['other']);
    assert.deepEqual(namesOf(body({ NodeNames: ['n1', 'n2'] })), ['n1', 'n2']);
    assert.throws(() => namesOf(Buffer.from('{"NodeNames":["n1","n3"')));
    assert.deepEqual(namesOf(body({ NodeNames: ['n1', 'n2'] })), ['n1', 'n2']);
  });

  it('takes an empty list as empty and null items as no nodes', () => {
    assert.deepEqual(namesOf(body({ Pod: {}, NodeNames: [] })), []);
    assert.deepEqual(namesOf(body({ Pod: {}, Nodes: { metadata: {}, items: null } })), []);
  });

  it('is refused where both lists are null or missing, which is not the same as empty', () => {
    for (const value of [{}, { Pod: {} }, { Pod: {}, Nodes: null, NodeNames: null }])
      assert.throws(() => parseExtenderArgs(body(value)), {
        code: 'INVALID_ARGUMENT',
        message: /NodeNames: and Nodes are both missing/,
      });
  });

  it('is refused with the field that is wrong', () => {
    const wrong: [unknown, RegExp][] = [
      [{ NodeNames: [1] }, /NodeNames: are not texts/],
      [{ NodeNames: 'n1' }, /NodeNames: is no list/],
      [{ Nodes: [] }, /Nodes: is no list/],
      [{ Nodes: { items: [{ metadata: {} }] } }, /Nodes.items: have no metadata.name/],
      [{ Nodes: { items: ['n1'] } }, /Nodes: are not objects/],
      [[], /body: is no JSON object/],
    ];
    for (const [value, message] of wrong)
      assert.throws(() => parseExtenderArgs(body(value)), { code: 'INVALID_ARGUMENT', message });
    assert.throws(() => parseExtenderArgs(Buffer.from('{"NodeNames":["n1"]} x')), /is not JSON at byte 21/);
    assert.throws(() => parseExtenderArgs(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), /is not UTF-8/);
  });

  it('gives names with escapes as the text they mean', () => {
    assert.deepEqual(namesOf(Buffer.from('{"NodeNames":["n\\u0031","\\"q"]}')), ['n1', '"q']);
  });

  it('is refused with more nodes than any cluster has', () => {
    const names = Array.from({ length: MAX_CANDIDATES + 1 }, () => 'n');
    assert.throws(() => parseExtenderArgs(body({ NodeNames: names })), {
      code: 'INVALID_ARGUMENT',
      message: /more than 50000/,
    });
  });

  it('counts the last of a repeated key, and names before nodes', () => {
    assert.deepEqual(namesOf(Buffer.from('{"NodeNames":["a"],"NodeNames":["b"]}')), ['b']);
    assert.deepEqual(namesOf(body({ Nodes: { items: [{ metadata: { name: 'x' } }] }, NodeNames: ['y'] })), ['y']);
    assert.deepEqual(namesOf(body({ NodeNames: ['y'], Nodes: { items: [{ metadata: { name: 'x' } }] } })), ['y']);
  });
});
