import assert from 'node:assert/strict';
import { emitServices, emitTypes, type Namespace } from '../../../scripts/codegen-types.ts';

const root: Namespace = {
  nested: {
    a: {
      nested: {
        Kind: { values: { NONE: 0, SOME: 1 } },
        Item: {
          oneofs: { choice: { oneof: ['left', 'right'] }, _maybe: { oneof: ['maybe'] } },
          fields: {
            size: { type: 'uint64', id: 1 },
            kind: { type: 'Kind', id: 2 },
            parent: { type: 'Item', id: 3 },
            list: { rule: 'repeated', type: '.a.Item', id: 4 },
            labels: { keyType: 'string', type: 'string', id: 5 },
            left: { type: 'bytes', id: 6 },
            right: { type: 'Inner', id: 7 },
            maybe: { type: 'bool', id: 8 },
          },
          nested: { Inner: { fields: { text: { type: 'string', id: 1 } } } },
        },
        Store: {
          methods: {
            GetItem: { requestType: 'Item', responseType: 'Item' },
            Watch: { requestType: 'Item', responseType: 'Item.Inner', responseStream: true },
          },
        },
      },
    },
  },
};

describe('generated types', () => {
  const types = emitTypes(root);

  it('have bigint for 64 bits, null for a message that may be missing, and no null elsewhere', () => {
    assert.match(types, /size: bigint;/);
    assert.match(types, /kind: number;/);
    assert.match(types, /parent: a\.Item \| null;/);
    assert.match(types, /list: a\.Item\[\];/);
    assert.match(types, /labels: \{ \[key: string\]: string \};/);
  });

  it('let members of a oneof and optional fields be absent, and name which member is set', () => {
    assert.match(types, /left\?: Uint8Array;/);
    assert.match(types, /right\?: a\.Item\.Inner;/);
    assert.match(types, /choice\?: 'left' \| 'right';/);
    assert.match(types, /maybe\?: boolean;/);
    assert.doesNotMatch(types, /_maybe/);
  });

  it('keep the values of enums', () => {
    assert.match(types, /const Kind: \{ readonly NONE: 0; readonly SOME: 1; \};/);
  });

  it('describe each call with its kind, path and messages', () => {
    const { code } = emitServices(root);
    assert.match(code, /getItem: \{ kind: 'unary', path: '\/a\.Store\/GetItem', request: messages\.a\.Item,/);
    assert.match(code, /watch: \{ kind: 'server-stream'.*response: messages\.a\.Item\.Inner/);
  });

  it('are refused when a type is defined nowhere', () => {
    const broken: Namespace = { nested: { M: { fields: { x: { type: 'Missing', id: 1 } } } } };
    assert.throws(() => emitTypes(broken), /Missing.*nowhere/);
  });
});
