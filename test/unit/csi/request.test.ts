import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../common/errors/index.ts';
import {
  chooseExpandedSize,
  chooseSize,
  formatVolumeContext,
  MAX_VOLUME_BYTES,
  MIN_VOLUME_BYTES,
  parseParameters,
  parseVolumeContext,
  printable,
  reachableTopologies,
  requireName,
  requirePath,
} from '../../../csi/request/index.ts';

const BOUNDS = { minBytes: MIN_VOLUME_BYTES, maxBytes: MAX_VOLUME_BYTES };
const MIB = 1n << 20n;
const anyInt64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const EDGE = ['INVALID_ARGUMENT', 'OUT_OF_RANGE'] as const;

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (err) {
    if (NabuError.is(err)) return err.code;
    throw err;
  }
  return 'OK';
}

describe('sizes that are asked for', () => {
  it('become whole blocks between what is required and the limit, or a typed error', () => {
    fc.assert(
      fc.property(anyInt64, anyInt64, (requiredBytes, limitBytes) => {
        let size: bigint;
        try {
          size = chooseSize({ requiredBytes, limitBytes }, BOUNDS);
        } catch (err) {
          return NabuError.is(err, ...EDGE);
        }
        const fitsLimit = limitBytes === 0n || size <= limitBytes;
        return size % 4096n === 0n && size >= requiredBytes && size >= BOUNDS.minBytes && fitsLimit;
      }),
      { numRuns: 2000 },
    );
  });

  it('never shrink a volume', () => {
    fc.assert(
      fc.property(
        anyInt64,
        anyInt64,
        fc.bigInt({ min: 1n, max: MAX_VOLUME_BYTES / 4096n }),
        (required, limit, blocks) => {
          const currentBytes = blocks * 4096n;
          try {
            return chooseExpandedSize({ requiredBytes: required, limitBytes: limit }, currentBytes) >= currentBytes;
          } catch (err) {
            return NabuError.is(err, ...EDGE);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('default to one GiB, or to a limit below that', () => {
    assert.equal(chooseSize(null, BOUNDS), 1024n * MIB);
    assert.equal(chooseSize({ requiredBytes: 0n, limitBytes: 100n * MIB + 1n }, BOUNDS), 100n * MIB);
    assert.equal(chooseSize({ requiredBytes: 1n, limitBytes: 0n }, BOUNDS), MIN_VOLUME_BYTES);
  });
});

describe('text of a request', () => {
  it('as a name has no path, white space or control character in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 140 }), (text) => {
        if (codeOf(() => requireName('name', text)) !== 'OK') return true;
        return text !== '' && Buffer.byteLength(text) <= 128 && !/[\s/\\]|\.\.|\p{C}/u.test(text);
      }),
      { numRuns: 1000 },
    );
    for (const name of ['pvc-0f8fad5b-d9cb-469f-a165-70867728950e', 'vol+1', 'n'.repeat(128), 'größe']) {
      assert.equal(requireName('name', name), name);
    }
  });

  it('as a path stays where it points', () => {
    assert.equal(requirePath('path', '/var/lib/kubelet/x/'), '/var/lib/kubelet/x');
    for (const path of ['', 'x', '/', '/a/../b', '/a/./b', '/a//b', '/a\0']) {
      assert.equal(
        codeOf(() => requirePath('path', path)),
        'INVALID_ARGUMENT',
        path,
      );
    }
  });

  it('shows control characters escaped', () => {
    assert.equal(printable('a\n\u001b[31mb'), 'a\\u000a\\u001b[31mb');
  });
});

describe('StorageClass parameters', () => {
  it('reach the node as they were meant, through the context of the volume', () => {
    const given = {
      policy: 'ec:4+2',
      fsType: 'xfs',
      mkfsOptions: ' -b   size=4096  -i maxpct=5 ',
      mountOptions: 'noatime,inode64,noatime',
      ioTimeout: '2m',
    };
    const parameters = parseParameters(given, 'xfs');
    const plan = parseVolumeContext(formatVolumeContext(parameters, 'xfs'), undefined);
    assert.deepEqual(plan, {
      fsType: 'xfs',
      mkfsOptions: ['-b', 'size=4096', '-i', 'maxpct=5'],
      mountOptions: ['noatime', 'inode64'],
      ioTimeoutMs: 120_000,
    });
  });

  it('are unknown by name', () => {
    assert.throws(
      () => parseParameters({ 'csi.storage.k8s.io/other': 'x' }, undefined),
      (err: unknown) => NabuError.is(err, 'PARAMETER_UNKNOWN') && err.message.includes('csi.storage.k8s.io/other'),
    );
  });

  it('may say who asked, which is kept', () => {
    const origin = { 'csi.storage.k8s.io/pvc/name': 'weights', 'csi.storage.k8s.io/pvc/namespace': 'llm' };
    assert.deepEqual(parseParameters(origin, undefined).origin, origin);
  });

  it('never let mkfs touch a file, a folder or another device', () => {
    const words = [
      '-b',
      '-d',
      '-c',
      '-l',
      '-p',
      '-E',
      '/etc',
      'name=x',
      'file',
      'logdev=sda',
      'size=4k',
      '-J',
      'device=x',
      'a/b',
    ];
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 6 }),
        fc.constantFrom('ext4', 'xfs'),
        (some, fsType) => {
          if (codeOf(() => parseParameters({ fsType, mkfsOptions: some.join(' ') }, undefined)) !== 'OK') return true;
          return (
            !some.some((word) => /\/|name=|^file$|logdev=|device=|^-c$|^-p$/.test(word)) &&
            !(fsType === 'ext4' && some.includes('-d'))
          );
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('are checked again on the node, where a PersistentVolume may be written by hand', () => {
    for (const context of [
      { mountOptions: 'barrier=0' },
      { mkfsOptions: '-d /etc' },
      { fsType: 'ntfs' },
      { ioTimeout: 'x' },
    ]) {
      assert.equal(
        codeOf(() => parseVolumeContext(context, undefined)),
        'INVALID_ARGUMENT',
        JSON.stringify(context),
      );
    }
    assert.equal(parseVolumeContext({ 'storage.kubernetes.io/csiProvisionerIdentity': 'x' }, undefined).fsType, 'ext4');
  });
});

describe('topology', () => {
  const zone = (name: string) => ({
    segments: { 'topology.nabustore.io/zone': name, 'topology.nabustore.io/node': 'n' },
  });

  it('is met by any zone of the cluster, from all of which a volume can be reached', () => {
    const reachable = [
      { segments: { 'topology.nabustore.io/zone': 'a' } },
      { segments: { 'topology.nabustore.io/zone': 'b' } },
    ];
    assert.deepEqual(reachableTopologies(null, ['a', 'b']), reachable);
    assert.deepEqual(
      reachableTopologies({ requisite: [zone('c'), zone('b')], preferred: [zone('b')] }, ['a', 'b']),
      reachable,
    );
  });

  it('that asks for other zones alone is refused, and as a mere preference is not', () => {
    const elsewhere = { requisite: [zone('c')], preferred: [] };
    assert.equal(
      codeOf(() => reachableTopologies(elsewhere, ['a'])),
      'TOPOLOGY_UNREACHABLE',
    );
    assert.equal(
      codeOf(() => reachableTopologies({ requisite: [], preferred: [zone('c')] }, ['a'])),
      'OK',
    );
  });
});
