import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  type CdiContent,
  type CdiEdits,
  cdiKind,
  cdiName,
  cdiSpec,
  editsOf,
  specName,
} from '../../../../device-plugin/cdi/index.ts';

const KIND = cdiKind('nabustore.io/claim');
const EDITS: CdiEdits = { env: ['A=1'] };

const withEdits = (containerEdits: CdiEdits): CdiContent => ({ devices: [{ name: 'a', containerEdits }] });

function refusal(content: unknown): string {
  try {
    cdiSpec(KIND, content as CdiContent);
  } catch (err) {
    assert.ok(NabuError.is(err, 'INVALID_ARGUMENT'), String(err));
    return err.message;
  }
  assert.fail(`taken: ${JSON.stringify(content)}`);
}

describe('names of CDI', () => {
  it('are made of what the specification allows', () => {
    for (const kind of ['nabustore.io/claim', 'a/b', 'foo.bar.baz/foo-bar123.B-az']) assert.equal(cdiKind(kind), kind);
    for (const name of ['0000:18:00.0-0', 'a', '2Mi-7', 'a_b']) assert.equal(cdiName(KIND, name), `${KIND}=${name}`);
    assert.equal(specName('0b5a-1.2'), '0b5a-1.2');
  });

  it('are refused when a runtime would not take them, or when they could lead elsewhere', () => {
    const kinds = [
      '',
      'foo',
      '/a',
      'vendor.com/',
      'vendor.com/foo/',
      'vendor.com/foo/bar',
      '../a/b',
      'a./b',
      'a/-b',
      'a/b-',
      'a/1',
    ];
    for (const kind of [...kinds, 'a/b_c', 'A/b', `${'a.'.repeat(130)}a/b`, `a/${'b'.repeat(64)}`]) {
      assert.throws(() => cdiKind(kind), { code: 'INVALID_ARGUMENT' }, kind);
    }
    for (const device of ['', '-a', 'a-', 'a/b', 'a=b', 'a b', '..', 'ä', 'a\n', 'a'.repeat(129)]) {
      assert.throws(() => cdiName(KIND, device), { code: 'INVALID_ARGUMENT' }, device);
    }
    for (const name of ['', '.', '..', '.a', 'a/b', '../a', 'a\0b', 'a_b', 'a\n', 'a'.repeat(101)]) {
      assert.throws(() => specName(name), { code: 'INVALID_ARGUMENT' }, name);
    }
  });

  it('are decided for any text at once, as names or with a typed refusal', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        for (const make of [cdiKind, specName, (device: string) => cdiName(KIND, device)]) {
          try {
            assert.ok(make(text).endsWith(text));
            assert.match(text, /^[\w.:/-]+$/);
          } catch (err) {
            assert.ok(NabuError.is(err, 'INVALID_ARGUMENT'));
          }
        }
      }),
    );
  });
});

describe('a CDI spec', () => {
  it('has the lowest version that knows all that it uses', () => {
    const device = (name: string, containerEdits = EDITS): CdiContent => ({ devices: [{ name, containerEdits }] });
    const cases: [string, string, CdiContent][] = [
      ['0.3.0', 'a/b', device('a')],
      ['0.4.0', 'a/b', device('a', { mounts: [{ hostPath: '/a', containerPath: '/a', type: 'bind' }] })],
      ['0.5.0', 'a/b', device('0a')],
      ['0.5.0', 'a/b', device('a', { deviceNodes: [{ path: '/dev/a', hostPath: '/dev/b' }] })],
      ['0.6.0', 'a/b.c', device('a')],
      ['0.6.0', 'a.b/c', { ...device('0'), annotations: { a: 'b' } }],
      ['0.6.0', 'a/b', { devices: [{ name: 'a', annotations: { a: 'b' }, containerEdits: EDITS }] }],
      ['0.7.0', 'a/b', { ...device('a'), containerEdits: { additionalGids: [7] } }],
    ];
    for (const [version, kind, content] of cases) assert.equal(cdiSpec(kind, content).cdiVersion, version, kind);
  });

  it('takes every edit that it is made for', () => {
    const edits: CdiEdits = {
      env: ['CUFILE_ENV_PATH_JSON=/etc/cufile.json', 'EMPTY='],
      deviceNodes: [
        { path: '/dev/infiniband/uverbs0', hostPath: '/host/uverbs0', permissions: 'rw' },
        { path: '/dev/x', type: 'c', major: 231, minor: 0, fileMode: 0o660, uid: 0, gid: 5, permissions: 'rwm' },
      ],
      mounts: [
        { hostPath: '/run/udev', containerPath: '/run/udev', options: ['bind', 'ro'] },
        {
          hostPath: 'nodev',
          containerPath: '/dev/hugepages-2Mi',
          type: 'hugetlbfs',
          options: ['size=1g', 'mode=01777'],
        },
      ],
      hooks: [{ hookName: 'createContainer', path: '/bin/true', args: ['true', ''], env: ['A=b'], timeout: 1 }],
      additionalGids: [44],
    };
    assert.deepEqual(cdiSpec(KIND, withEdits(edits)), { cdiVersion: '0.7.0', kind: KIND, ...withEdits(edits) });
  });

  it('is refused, by the name of the field, for what a runtime would refuse or could not mean', () => {
    const mount = (part: object): unknown => withEdits({ mounts: [{ hostPath: '/a', containerPath: '/a', ...part }] });
    const node = (part: object): unknown => withEdits({ deviceNodes: [{ path: '/dev/a', ...part }] });
    const hook = (part: object): unknown => withEdits({ hooks: [{ hookName: 'poststop', path: '/a', ...part }] });
    const cases: [string, unknown][] = [
      ['devices', { devices: [] }],
      [
        'devices',
        {
          devices: [
            { name: 'a', containerEdits: EDITS },
            { name: 'a', containerEdits: EDITS },
          ],
        },
      ],
      ['devices.0.name', { devices: [{ name: 'a/b', containerEdits: EDITS }] }],
      ['devices.0.containerEdits', { devices: [{ name: 'a', containerEdits: {} }] }],
      ['devices.0.containerEdits', { devices: [{ name: 'a', containerEdits: { env: [] } }] }],
      ['devices.0.containerEdits', { devices: [{ name: 'a', containerEdits: { intelRdt: {} } }] }],
      ['devices.0.annotations', { devices: [{ name: 'a', containerEdits: EDITS, annotations: { 'a b': 'c' } }] }],
      ['env.0', withEdits({ env: ['A'] })],
      ['env.0', withEdits({ env: ['=a'] })],
      ['env.0', withEdits({ env: ['A=\n'] })],
      ['env', withEdits({ env: ['A=1', 'A=2'] })],
      ['mounts.0.hostPath', mount({ hostPath: '' })],
      ['mounts.0.hostPath', mount({ hostPath: '/a/../etc' })],
      ['mounts.0.containerPath', mount({ containerPath: 'a' })],
      ['mounts.0.containerPath', mount({ containerPath: '/' })],
      ['mounts.0.containerPath', mount({ containerPath: '/a\0' })],
      ['mounts.0.options.0', mount({ options: ['ro,suid'] })],
      ['mounts.0.options.0', mount({ options: [''] })],
      ['mounts.0.type', mount({ type: 'a b' })],
      ['mounts.0', mount({ source: '/a' })],
      ['mounts', withEdits({ mounts: ['/b', '/c'].map((hostPath) => ({ hostPath, containerPath: '/a' })) })],
      ['deviceNodes.0.path', node({ path: '' })],
      ['deviceNodes.0.path', node({ path: '/dev//a' })],
      ['deviceNodes.0.type', node({ type: 'x' })],
      ['deviceNodes.0.permissions', node({ permissions: 'rr' })],
      ['deviceNodes.0.permissions', node({ permissions: 'x' })],
      ['deviceNodes.0.major', node({ major: -1 })],
      ['deviceNodes.0.fileMode', node({ fileMode: 0o100660 })],
      ['deviceNodes.0.uid', node({ uid: 2 ** 32 - 1 })],
      ['hooks.0.hookName', hook({ hookName: 'later' })],
      ['hooks.0.path', hook({ path: 'a' })],
      ['hooks.0.timeout', hook({ timeout: 0 })],
      ['hooks.0.env.0', hook({ env: ['A'] })],
      ['additionalGids.0', withEdits({ additionalGids: [0] })],
    ];
    for (const [field, content] of cases) assert.match(refusal(content), new RegExp(`^CDI spec\\..*${field}`), field);
    assert.throws(() => cdiSpec('a', withEdits(EDITS)), 'a kind that is none');
  });

  it('gives what the kubelet would give for a grant', () => {
    const edits = editsOf({
      devices: [
        { containerPath: '/dev/a', hostPath: '/dev/a', permissions: 'rw' },
        { containerPath: '/dev/b', hostPath: '/host/dev/b', permissions: 'r' },
      ],
      mounts: [{ containerPath: '/etc/cufile', hostPath: '/var/lib/x', readOnly: true }],
      environment: { A: 'b=c' },
    });
    assert.deepEqual(edits, {
      env: ['A=b=c'],
      deviceNodes: [
        { path: '/dev/a', permissions: 'rw' },
        { path: '/dev/b', hostPath: '/host/dev/b', permissions: 'r' },
      ],
      mounts: [
        {
          hostPath: '/var/lib/x',
          containerPath: '/etc/cufile',
          options: ['bind', 'rprivate', 'nosuid', 'nodev', 'ro'],
        },
      ],
    });
    cdiSpec(KIND, withEdits(edits));
  });
});
