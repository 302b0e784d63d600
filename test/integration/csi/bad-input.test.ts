import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { NabuError } from '../../../common/errors/index.ts';
import type { MessageInit } from '../../../common/grpc/index.ts';
import { csi } from '../../../proto/gen/messages.js';
import { NODE_NAME, PluginFixture } from '../../support/csi/plugin-fixture.ts';

type Create = MessageInit<csi.v1.CreateVolumeRequest>;

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const MIB = 1n << 20n;
const LIMIT = { timeoutMs: 20_000 };
const NOBODY = '0123456789abcdef0123456789abcdef';

function mountCapability(mode: number = Mode.SINGLE_NODE_WRITER): MessageInit<csi.v1.VolumeCapability> {
  return { mount: { fsType: 'ext4' }, accessMode: { mode } };
}

function creation(changes: Create = {}): Create {
  return {
    name: 'bad-input',
    capacityRange: { requiredBytes: 64n * MIB },
    volumeCapabilities: [mountCapability()],
    ...changes,
  };
}

/** The grpc status that a code of ours becomes, with the code: `INVALID_ARGUMENT POLICY_UNKNOWN`. */
async function refusalOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (err) {
    if (!NabuError.is(err)) throw err;
    return err.code === err.entry.grpc ? err.code : `${err.entry.grpc} ${err.code}`;
  }
  return 'OK';
}

const CREATIONS: readonly (readonly [what: string, request: Create, refusal: string])[] = [
  ['a policy that is none', { parameters: { policy: 'raid:5' } }, 'INVALID_ARGUMENT POLICY_UNKNOWN'],
  ['a policy with too many shards', { parameters: { policy: 'ec:17+2' } }, 'INVALID_ARGUMENT POLICY_UNKNOWN'],
  ['a policy wider than the cluster', { parameters: { policy: 'ec:8+2' } }, 'INVALID_ARGUMENT POLICY_TOO_WIDE'],
  ['a parameter that is none', { parameters: { polcy: 'ec:4+2' } }, 'INVALID_ARGUMENT PARAMETER_UNKNOWN'],
  ['a failure domain that is none', { parameters: { failureDomain: 'galaxy' } }, 'INVALID_ARGUMENT'],
  ['a file system that is none', { parameters: { fsType: 'ntfs' } }, 'INVALID_ARGUMENT'],
  ['two file systems', { parameters: { fsType: 'xfs', 'csi.storage.k8s.io/fstype': 'ext4' } }, 'INVALID_ARGUMENT'],
  ['mkfs options that copy a folder', { parameters: { mkfsOptions: '-d /etc' } }, 'INVALID_ARGUMENT'],
  ['mkfs options without a flag', { parameters: { mkfsOptions: '/dev/sda' } }, 'INVALID_ARGUMENT'],
  [
    'mkfs options with a foreign log',
    { parameters: { fsType: 'xfs', mkfsOptions: '-l logdev=x' } },
    'INVALID_ARGUMENT',
  ],
  ['mount options that weaken flushes', { parameters: { mountOptions: 'noatime,barrier=0' } }, 'INVALID_ARGUMENT'],
  ['mount options of another file system', { parameters: { mountOptions: 'inode64' } }, 'INVALID_ARGUMENT'],
  ['an I/O timeout that is no time', { parameters: { ioTimeout: 'soon' } }, 'INVALID_ARGUMENT'],
  ['size 0', { capacityRange: { requiredBytes: 0n } }, 'INVALID_ARGUMENT'],
  ['a negative size', { capacityRange: { requiredBytes: -1n } }, 'INVALID_ARGUMENT'],
  ['a negative limit', { capacityRange: { requiredBytes: MIB, limitBytes: -1n } }, 'INVALID_ARGUMENT'],
  ['a limit below the size', { capacityRange: { requiredBytes: 64n * MIB, limitBytes: MIB } }, 'INVALID_ARGUMENT'],
  ['a limit that no volume fits', { capacityRange: { requiredBytes: 1n, limitBytes: 4096n } }, 'OUT_OF_RANGE'],
  ['more than the capacity', { capacityRange: { requiredBytes: 1n << 44n } }, 'RESOURCE_EXHAUSTED NO_SPACE'],
  ['2^63 - 1 bytes', { capacityRange: { requiredBytes: (1n << 63n) - 1n } }, 'OUT_OF_RANGE'],
  // On the wire an int64 of 2^63 is one of -2^63.
  ['2^63 bytes', { capacityRange: { requiredBytes: -(1n << 63n) } }, 'INVALID_ARGUMENT'],
  ['no name', { name: '' }, 'INVALID_ARGUMENT'],
  ['a name of 129 bytes', { name: 'n'.repeat(129) }, 'INVALID_ARGUMENT'],
  ['a name of 65 two-byte characters', { name: 'é'.repeat(65) }, 'INVALID_ARGUMENT'],
  ['a name with ../', { name: '../../etc/passwd' }, 'INVALID_ARGUMENT'],
  ['a name with ..', { name: 'a..b' }, 'INVALID_ARGUMENT'],
  ['a name with NUL', { name: 'a\0b' }, 'INVALID_ARGUMENT'],
  ['a name with a space', { name: 'a b' }, 'INVALID_ARGUMENT'],
  ['a name with a line break', { name: 'a\nb' }, 'INVALID_ARGUMENT'],
  ['no capability', { volumeCapabilities: [] }, 'INVALID_ARGUMENT'],
  ['a capability without a mode', { volumeCapabilities: [{ block: {} }] }, 'INVALID_ARGUMENT'],
  ['a capability without a type', { volumeCapabilities: [{ accessMode: { mode: 1 } }] }, 'INVALID_ARGUMENT'],
  [
    'a mount group',
    { volumeCapabilities: [{ ...mountCapability(), mount: { volumeMountGroup: '7' } }] },
    'INVALID_ARGUMENT',
  ],
  ['many readers', { volumeCapabilities: [mountCapability(3)] }, 'INVALID_ARGUMENT ACCESS_MODE_UNSUPPORTED'],
  [
    'one writer of many nodes',
    { volumeCapabilities: [mountCapability(4)] },
    'INVALID_ARGUMENT ACCESS_MODE_UNSUPPORTED',
  ],
  ['many writers', { volumeCapabilities: [mountCapability(5)] }, 'INVALID_ARGUMENT ACCESS_MODE_UNSUPPORTED'],
  ['a mode of the future', { volumeCapabilities: [mountCapability(99)] }, 'INVALID_ARGUMENT ACCESS_MODE_UNSUPPORTED'],
  ['a secret', { secrets: { password: 'hunter2' } }, 'INVALID_ARGUMENT SECRET_UNKNOWN'],
  ['a snapshot as source', { volumeContentSource: { snapshot: { snapshotId: 'x' } } }, 'INVALID_ARGUMENT'],
  ['mutable parameters', { mutableParameters: { tier: 'fast' } }, 'INVALID_ARGUMENT'],
  [
    'a topology key that is none',
    { accessibilityRequirements: { requisite: [{ segments: { rack: 'r' } }] } },
    'INVALID_ARGUMENT',
  ],
  [
    'a zone without storage',
    { accessibilityRequirements: { requisite: [{ segments: { 'topology.nabustore.io/zone': 'moon' } }] } },
    'RESOURCE_EXHAUSTED TOPOLOGY_UNREACHABLE',
  ],
];

describe('bad input to the CSI plugin', () => {
  let fixture: PluginFixture;

  before(async () => {
    fixture = await PluginFixture.start();
  });

  after(async () => {
    await fixture.destroy();
  });

  afterEach(() => {
    assert.equal(fixture.control.volumes.count, 0, 'something was created, or left');
    assert.deepEqual(fixture.host.openIds, [], 'something was opened, or left open');
  });

  for (const [what, changes, refusal] of CREATIONS) {
    it(`refuses to create a volume with ${what}: ${refusal}`, async () => {
      assert.equal(await refusalOf(fixture.controller.createVolume(creation(changes), LIMIT)), refusal);
    });
  }

  it('never repeats a secret', async () => {
    const call = fixture.controller.createVolume(creation({ secrets: { password: 'hunter2' } }), LIMIT);
    await assert.rejects(
      call,
      (err: Error) => err.message.includes('password') && !JSON.stringify(err).includes('hunter2'),
    );
  });

  it('refuses secrets in every other call too', async () => {
    const secrets = { token: 'x' };
    const { controller, node } = fixture;
    const volumeCapability = mountCapability();
    const place = { volumeId: NOBODY, stagingTargetPath: fixture.path('s'), volumeCapability, secrets };
    const calls = [
      controller.deleteVolume({ volumeId: NOBODY, secrets }, LIMIT),
      controller.controllerPublishVolume({ volumeId: NOBODY, nodeId: NODE_NAME, volumeCapability, secrets }, LIMIT),
      controller.controllerUnpublishVolume({ volumeId: NOBODY, nodeId: NODE_NAME, secrets }, LIMIT),
      controller.validateVolumeCapabilities(
        { volumeId: NOBODY, volumeCapabilities: [volumeCapability], secrets },
        LIMIT,
      ),
      controller.controllerExpandVolume({ volumeId: NOBODY, capacityRange: { requiredBytes: 1n }, secrets }, LIMIT),
      node.nodeStageVolume(place, LIMIT),
      node.nodePublishVolume({ ...place, targetPath: fixture.path('t') }, LIMIT),
      node.nodeExpandVolume({ volumeId: NOBODY, volumePath: fixture.path('t'), secrets }, LIMIT),
    ];
    for (const call of calls) assert.equal(await refusalOf(call), 'INVALID_ARGUMENT SECRET_UNKNOWN');
  });

  it('finds no volume under ids that cannot be one', async () => {
    for (const volumeId of ['../../etc', 'a b', 'nul\0', NOBODY.toUpperCase(), NOBODY]) {
      const call = fixture.controller.controllerGetVolume({ volumeId }, LIMIT);
      assert.equal(await refusalOf(call), 'NOT_FOUND VOLUME_NOT_FOUND');
      assert.equal(await refusalOf(fixture.controller.deleteVolume({ volumeId }, LIMIT)), 'OK');
    }
    const tooLong = fixture.controller.controllerGetVolume({ volumeId: 'x'.repeat(129) }, LIMIT);
    assert.equal(await refusalOf(tooLong), 'INVALID_ARGUMENT');
  });

  it('refuses a page that is none', async () => {
    assert.equal(await refusalOf(fixture.controller.listVolumes({ startingToken: 'page two' }, LIMIT)), 'ABORTED');
    assert.equal(await refusalOf(fixture.controller.listVolumes({ maxEntries: -1 }, LIMIT)), 'INVALID_ARGUMENT');
  });

  it('refuses a message above the limit and serves the next', async () => {
    const parameters = { policy: 'p'.repeat(2 << 20) };
    assert.equal(
      await refusalOf(fixture.controller.createVolume(creation({ parameters }), LIMIT)),
      'RESOURCE_EXHAUSTED',
    );
    assert.equal((await fixture.identity.getPluginInfo({}, LIMIT)).name, 'csi.nabustore.io');
  });

  it('refuses a hostile :authority, or has HTTP/2 refuse it, and serves the next', async () => {
    const malformed = ['a,b', '[::1', 'host:99999999', 'a'.repeat(5000), '%00'];
    for (const authority of malformed)
      assert.equal(await callWithAuthority(fixture.endpoint, authority), '3', authority);
    const forbidden = ['', '/run/csi.sock', '../../etc/passwd', 'user:pass@host', 'a\u0001b', 'a b', '<script>'];
    for (const authority of forbidden) {
      assert.equal(await callWithAuthority(fixture.endpoint, authority), 'reset', authority);
    }
    for (const authority of ['localhost', '%2Frun%2Fcsi.sock', '[::1]:50051']) {
      assert.equal(await callWithAuthority(fixture.endpoint, authority), '0', authority);
    }
  });
});

describe('bad input about a volume that exists', () => {
  let fixture: PluginFixture;
  let volumeId: string;
  let publishContext: Record<string, string>;

  before(async () => {
    fixture = await PluginFixture.start();
    const { volume } = await fixture.controller.createVolume(creation(), LIMIT);
    volumeId = volume?.volumeId ?? '';
    const published = await fixture.controller.controllerPublishVolume(
      { volumeId, nodeId: NODE_NAME, volumeCapability: mountCapability() },
      LIMIT,
    );
    publishContext = published.publishContext;
  });

  after(async () => {
    await fixture.destroy();
  });

  afterEach(() => {
    assert.deepEqual(fixture.host.openIds, [], 'the volume was opened');
  });

  function stage(stagingTargetPath: string, changes: MessageInit<csi.v1.NodeStageVolumeRequest> = {}): Promise<string> {
    const request = { volumeId, publishContext, stagingTargetPath, volumeCapability: mountCapability(), ...changes };
    return refusalOf(fixture.node.nodeStageVolume(request, LIMIT));
  }

  it('refuses to stage at a file', async () => {
    await writeFile(fixture.path('file'), '');
    assert.equal(await stage(fixture.path('file')), 'FAILED_PRECONDITION PATH_UNUSABLE');
  });

  it('refuses to stage at a path that is not there', async () => {
    assert.equal(await stage(fixture.path('missing')), 'FAILED_PRECONDITION PATH_UNUSABLE');
    assert.equal(await stage(fixture.path('missing/deeper')), 'FAILED_PRECONDITION PATH_UNUSABLE');
  });

  it('refuses to stage where something else is mounted', async () => {
    assert.equal(await stage('/proc'), 'FAILED_PRECONDITION PATH_UNUSABLE');
  });

  it('refuses to stage at a path that is none', async () => {
    for (const path of [
      '',
      'relative',
      '/',
      `${fixture.folder}/../x`,
      `${fixture.folder}//x`,
      '/tmp/nul\0',
      `/${'x'.repeat(5000)}`,
    ]) {
      assert.equal(await stage(path), 'INVALID_ARGUMENT', path);
    }
  });

  it('refuses to stage what was not attached', async () => {
    const folder = await fixture.makeFolder('unattached');
    assert.equal(await stage(folder, { publishContext: {} }), 'FAILED_PRECONDITION VOLUME_NOT_ATTACHED');
    assert.equal(await stage(folder, { publishContext: { generation: '-1' } }), 'INVALID_ARGUMENT');
  });

  it('refuses to publish before the volume is staged', async () => {
    const stagingTargetPath = await fixture.makeFolder('not-staged');
    const targetPath = fixture.path('target');
    for (const capability of [mountCapability(), { block: {}, accessMode: { mode: 1 } }]) {
      const request = { volumeId, publishContext, stagingTargetPath, targetPath, volumeCapability: capability };
      const refusal = await refusalOf(fixture.node.nodePublishVolume(request, LIMIT));
      assert.equal(refusal, 'FAILED_PRECONDITION VOLUME_NOT_STAGED');
    }
  });

  it('refuses to attach it to a node that is not known, to a second one, and the other way', async () => {
    const publish = (nodeId: string, readonly = false) =>
      refusalOf(
        fixture.controller.controllerPublishVolume(
          { volumeId, nodeId, readonly, volumeCapability: mountCapability() },
          LIMIT,
        ),
      );
    assert.equal(await publish('unknown'), 'NOT_FOUND NODE_NOT_FOUND');
    assert.equal(await publish('no/node'), 'INVALID_ARGUMENT');
    assert.equal(await publish(NODE_NAME, true), 'ALREADY_EXISTS');
    assert.equal(await publish(NODE_NAME), 'OK');
  });

  it('refuses to delete it while it is attached', async () => {
    assert.equal(await refusalOf(fixture.controller.deleteVolume({ volumeId }, LIMIT)), 'FAILED_PRECONDITION');
  });

  it('refuses its name for a volume that is different', async () => {
    const create = (changes: Create) => refusalOf(fixture.controller.createVolume(creation(changes), LIMIT));
    assert.equal(await create({}), 'OK');
    const different: Create[] = [
      { capacityRange: { requiredBytes: 128n * MIB } },
      { parameters: { policy: 'ec:2+1' } },
      { parameters: { ioTimeout: '5s' } },
      { volumeCapabilities: [{ mount: { fsType: 'xfs' }, accessMode: { mode: 1 } }], capacityRange: null },
    ];
    for (const changes of different) assert.equal(await create(changes), 'ALREADY_EXISTS VOLUME_EXISTS_DIFFERENT');
  });

  it('refuses to expand it to what cannot be', async () => {
    const expand = (capacityRange: MessageInit<csi.v1.CapacityRange> | null) =>
      refusalOf(fixture.controller.controllerExpandVolume({ volumeId, capacityRange }, LIMIT));
    assert.equal(await expand(null), 'INVALID_ARGUMENT');
    assert.equal(await expand({ requiredBytes: -1n }), 'INVALID_ARGUMENT');
    assert.equal(await expand({ requiredBytes: (1n << 63n) - 1n }), 'OUT_OF_RANGE');
    assert.equal(await expand({ requiredBytes: 1n << 44n }), 'RESOURCE_EXHAUSTED NO_SPACE');
    assert.equal(await expand({ requiredBytes: 1n, limitBytes: MIB }), 'OUT_OF_RANGE');
    assert.equal(await expand({ requiredBytes: MIB }), 'OK'); // it never shrinks
    const { volume } = await fixture.controller.controllerGetVolume({ volumeId }, LIMIT);
    assert.equal(volume?.capacityBytes, 64n * MIB);
  });
});

/** One raw HTTP/2 call of GetPluginInfo: its grpc-status, or `reset` when HTTP/2 refused the stream. */
function callWithAuthority(socketPath: string, authority: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = http2.connect('http://localhost', { createConnection: () => connect(socketPath) });
    session.on('error', reject);
    const call = session.request({
      ':method': 'POST',
      ':path': '/csi.v1.Identity/GetPluginInfo',
      ':authority': authority,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let status = 'reset';
    const take = (headers: http2.IncomingHttpHeaders): void => {
      const value = headers['grpc-status'];
      if (typeof value === 'string') status = value;
    };
    call.on('response', take);
    call.on('trailers', take);
    call.on('error', () => undefined); // the reset, which `close` reports
    call.on('close', () => {
      session.destroy();
      resolve(status);
    });
    call.resume();
    call.end(Buffer.from([0, 0, 0, 0, 0]));
  });
}
