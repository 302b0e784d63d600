import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import type { Unit } from '../../../../device-plugin/resources/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { CufileRig, holding } from '../../../support/cufile-rig.ts';

const CUFILE = { kind: 'cufile', version: '1.16', slots: 2 };
const GDS = { kind: 'gds', version: '1.16', slots: 2 };
const ALLOWED = { ...CUFILE, settings: { fallback: 'allow' } };
const H200 = MACHINES['h200-8gpu'];
const P2PDMA = MACHINES['p2pdma-only'];
const { nvidiaFs: _module, ...h200WithoutModule } = H200;
const GPU_0 = 'GPU-5a1f0c3e-7d2b-4e6a-9c41-000000000000';
const GPU_7 = 'GPU-5a1f0c3e-7d2b-4e6a-9c41-000000000007';

function codes(units: readonly { readonly causes: readonly { readonly code: string }[] }[]): string[] {
  return [...new Set(units.flatMap(({ causes }) => causes.map(({ code }) => code)))];
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const err = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(NabuError.is(err), String(err));
  return `${err.code} ${err.message}`;
}

describe('nabustore.io/cufile', () => {
  it('has slots for each NUMA node with a GPU, healthy, with their node', async () => {
    using rig = new CufileRig(H200);
    const units = rig.kind(CUFILE).units(await rig.inventory());
    assert.deepEqual(
      units.map(({ id, device, numaNodes, causes }) => [id, device, numaNodes, causes]),
      [
        ['numa0-0', 'numa0', [0], []],
        ['numa0-1', 'numa0', [0], []],
        ['numa1-0', 'numa1', [1], []],
        ['numa1-1', 'numa1', [1], []],
      ],
    );
  });

  it('counts a machine whose GPUs name no node as one place', async () => {
    const functions = H200.functions.map(({ numa: _, ...rest }) => rest);
    using rig = new CufileRig({ ...H200, functions });
    const units = rig.kind(CUFILE).units(await rig.inventory());
    assert.deepEqual(
      units.map(({ id, numaNodes }) => [id, numaNodes]),
      [
        ['machine-0', []],
        ['machine-1', []],
      ],
    );
  });

  it('does not count GPUs that belong to virtual machines', async () => {
    const functions = H200.functions.map((one) =>
      one.gpu !== undefined && one.numa === 1 ? { ...one, driver: 'vfio-pci' } : one,
    );
    using rig = new CufileRig({ ...H200, functions });
    const units = rig.kind(CUFILE).units(await rig.inventory());
    assert.deepEqual(
      units.map(({ id }) => id),
      ['numa0-0', 'numa0-1'],
    );
  });

  it('gives the devices of nvidia-fs, the udev database, and a folder of its own, read-only', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    using deadline = rig.deadline();
    const grant = await kind.grant([await rig.unit(kind, 'numa0-1')], await rig.inventory(), deadline);
    assert.deepEqual(grant.devices[15], {
      containerPath: '/dev/nvidia-fs15',
      hostPath: '/dev/nvidia-fs15',
      permissions: 'rw',
    });
    assert.equal(grant.devices.length, 16);
    assert.deepEqual(grant.mounts, [
      {
        containerPath: '/etc/nabustore/cufile',
        hostPath: '/var/lib/nabustore/device-plugin/cufile/cufile/numa0-1',
        readOnly: true,
      },
      { containerPath: '/run/udev', hostPath: '/run/udev', readOnly: true },
    ]);
    assert.deepEqual(grant.environment, { CUFILE_ENV_PATH_JSON: '/etc/nabustore/cufile/cufile.json' });
    assert.equal(statSync(join(rig.state, 'cufile/cufile/numa0-1')).mode & 0o777, 0o755);
  });

  it('is there without nvidia-fs where peer-to-peer DMA works, with the same mounts and no device', async () => {
    using rig = new CufileRig(P2PDMA);
    const kind = rig.kind(CUFILE);
    const machine = await rig.inventory();
    assert.deepEqual(codes(kind.units(machine)), []);
    using deadline = rig.deadline();
    const grant = await kind.grant([await rig.unit(kind, 'numa0-0')], machine, deadline);
    assert.deepEqual(grant.devices, []);
    assert.equal(grant.mounts.length, 2);
  });

  it('is unhealthy where neither way is there, and says what each one lacks; healthy where host memory will do', async () => {
    using rig = new CufileRig(h200WithoutModule);
    const machine = await rig.inventory();
    const [unit] = rig.kind(CUFILE).units(machine);
    assert.deepEqual(unit?.causes, [
      {
        code: 'nvidia-fs',
        detail: 'nvidia-fs: not loaded: load nvidia-fs (package nvidia-gds), or use peer-to-peer DMA',
      },
      {
        code: 'p2pdma',
        detail:
          'peer-to-peer DMA: kernel: yes (/proc/kallsyms: p2pdma_pgmap_ops): needs NVreg_RegistryDwords with RMForceStaticBar1=1',
      },
    ]);
    assert.deepEqual(codes(rig.kind(ALLOWED).units(machine)), []);
  });

  it('is unhealthy while device files of nvidia-fs are missing, and healthy again with them', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    rig.tree.remove('dev/nvidia-fs3');
    const [unit] = kind.units(await rig.inventory());
    assert.match(unit?.causes[0]?.detail ?? '', /15 of 16 device files/);
    rig.tree.file('dev/nvidia-fs3', '');
    assert.deepEqual(codes(kind.units(await rig.inventory())), []);
  });

  it("is unhealthy without NVIDIA's driver, even where host memory would do", async () => {
    const { nvidiaDriver: _, ...bare } = H200;
    using rig = new CufileRig(bare);
    assert.deepEqual(codes(rig.kind(ALLOWED).units(await rig.inventory())), ['driver']);
  });
});

describe('PreStartContainer of nabustore.io/cufile', () => {
  it('does nothing the second time, and writes the same for ids in another order', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    const units = [await rig.unit(kind, 'numa0-1'), await rig.unit(kind, 'numa0-0')];
    rig.shows(holding({ 'nabustore.io/cufile': ['numa0-0', 'numa0-1'], 'nvidia.com/gpu': [GPU_0] }));
    await rig.prepare(kind, units);
    const folder = join(rig.state, 'cufile/cufile/numa0-0');
    const inode = statSync(join(folder, 'cufile.json')).ino;
    await rig.prepare(kind, units.toReversed());
    assert.equal(statSync(join(folder, 'cufile.json')).ino, inode);
    assert.deepEqual(readdirSync(folder).sort(), ['NOTES', 'cufile.json']);
    assert.equal(statSync(join(folder, 'cufile.json')).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(join(rig.state, 'cufile/cufile')), ['numa0-0']);
  });

  it('makes the folder again when somebody removed it, and removes what a killed process left in it', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    const unit = await rig.unit(kind, 'numa0-0');
    using deadline = rig.deadline();
    await kind.grant([unit], await rig.inventory(), deadline);
    rmSync(join(rig.state, 'cufile'), { recursive: true });
    await rig.prepare(kind, [unit]);
    const folder = join(rig.state, 'cufile/cufile/numa0-0');
    writeFileSync(join(folder, 'cufile.json.1.tmp'), '{');
    await rig.prepare(kind, [unit]);
    assert.deepEqual(readdirSync(folder).sort(), ['NOTES', 'cufile.json']);
  });

  it('takes the NUMA node when the API cannot be asked, shows nobody, or shows other units: and says which', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    const unit = await rig.unit(kind, 'numa1-0');
    const notes = async (): Promise<string> => {
      await rig.prepare(kind, [unit]);
      return rig.read(kind, 'numa1-0', 'NOTES');
    };
    rig.pods = NabuError.of('UNAVAILABLE', { target: 'unix:/x.sock', reason: 'nobody listens' });
    assert.match(
      await notes(),
      /could not be asked \(unix:\/x\.sock cannot be reached: nobody listens\): the file is for/,
    );
    assert.match(await notes(), /^HCAs: mlx5_2 .*, mlx5_3 .*, mlx5_4 \(0000:ca:00\.0\)\.$/m); // the port of mlx5_5 is down
    assert.match(await notes(), /^GPUs: 0000:9a:00\.0, 0000:9b:00\.0, 0000:ba:00\.0, 0000:bb:00\.0\.$/m);
    rig.shows();
    assert.match(await notes(), /does not show the container, as it shows no init container/);
    rig.shows(holding({ 'nabustore.io/cufile': ['numa1-0', 'numa1-1'], 'nvidia.com/gpu': [GPU_7] }));
    assert.match(await notes(), /shows the units in the hands of ml\/train-0\/main, and not these alone/);
  });

  it('gives up with its caller, not before', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    const unit = await rig.unit(kind, 'numa1-0');
    const machine = await rig.inventory();
    using deadline = rig.deadline(1);
    rig.pods = NabuError.of('TIMEOUT', { operation: 'list', timeoutMs: 1 });
    await new Promise<void>((resolve) => deadline.signal.addEventListener('abort', () => resolve()));
    assert.match(await refusal(kind.prepare?.([unit], machine, deadline) ?? Promise.resolve()), /^TIMEOUT/);
    assert(!existsSync(join(rig.state, 'cufile/cufile/numa1-0/cufile.json')));
  });

  it('refuses a container that asks for two kinds of cuFile', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(CUFILE);
    rig.shows(holding({ 'nabustore.io/cufile': ['numa0-0'], 'nabustore.io/gds': ['0000:1a:00.0-0'] }));
    assert.match(
      await refusal(rig.prepare(kind, [await rig.unit(kind, 'numa0-0')])),
      /^FAILED_PRECONDITION starting the container cannot be done now: it asks for nabustore\.io\/cufile and nabustore\.io\/gds, of which/,
    );
  });

  it('refuses an override that names what the container was not given', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind({ ...CUFILE, overrides: { properties: { rdma_dev_addr_list: ['192.0.2.99'] } } });
    rig.shows(holding({ 'nabustore.io/cufile': ['numa0-0'], 'nabustore.io/rdma': ['0000:1a:00.0-0'] }));
    assert.match(await refusal(rig.prepare(kind, [await rig.unit(kind, 'numa0-0')])), /^CUFILE_NOT_GIVEN/);
  });

  it('refuses a container that was given nvidia-fs which is gone since, also after a restart of the plugin', async () => {
    using rig = new CufileRig(H200);
    const unit: Unit = await rig.unit(rig.kind(CUFILE), 'numa0-0');
    using deadline = rig.deadline();
    await rig.kind(CUFILE).grant([unit], await rig.inventory(), deadline);
    rig.tree.remove('sys/module/nvidia_fs');
    const after = rig.kind(ALLOWED);
    assert.match(await refusal(rig.prepare(after, [unit])), /^CUFILE_UNAVAILABLE .*was given the devices of nvidia-fs/);
    await after.grant([unit], await rig.inventory(), deadline);
    await rig.prepare(rig.kind(ALLOWED), [unit]);
    assert.match(rig.read(after, 'numa0-0', 'NOTES'), /^Mode: compat\.$/m);
  });

  it('keeps a container without devices of nvidia-fs on peer-to-peer DMA when the module is loaded later', async () => {
    using rig = new CufileRig(P2PDMA);
    const kind = rig.kind(CUFILE);
    const unit = await rig.unit(kind, 'numa0-0');
    using deadline = rig.deadline();
    await kind.grant([unit], await rig.inventory(), deadline);
    rig.tree.files('sys/module/nvidia_fs', { version: '2.25.7' });
    rig.tree.files('proc/driver/nvidia-fs', { version: 'version: 2.25', devcount: 1, modules: 'nvme: 1.0' });
    rig.tree.file('dev/nvidia-fs0', '');
    assert.equal((await rig.inventory()).nvidiaFs.devices.length, 1);
    await rig.prepare(kind, [unit]);
    assert.match(rig.read(kind, 'numa0-0', 'NOTES'), /^Mode: p2pdma\.$/m);
    await kind.grant([unit], await rig.inventory(), deadline);
    await rig.prepare(kind, [unit]);
    assert.match(rig.read(kind, 'numa0-0', 'NOTES'), /^Mode: nvidia-fs\.$/m);
  });

  it('removes what is old and nobody holds, not what is held or young, and not more often than it should', async () => {
    using rig = new CufileRig(H200);
    const clock = new SimClock(Date.now());
    const kind = rig.kind(CUFILE, rig.parts({ clock }));
    const folder = join(rig.state, 'cufile/cufile');
    for (const id of ['numa0-0', 'numa0-1', 'numa1-0']) await rig.prepare(kind, [await rig.unit(kind, id)]);
    const longAgo = new Date(Date.now() - 48 * 3_600_000);
    const age = (): void => {
      for (const id of ['numa0-0', 'numa0-1']) utimesSync(join(folder, id), longAgo, longAgo);
    };
    rig.shows(holding({ 'nabustore.io/cufile': ['numa0-1'] }));
    const unit = await rig.unit(kind, 'numa0-1');
    await rig.prepare(kind, [unit]);
    age(); // what is held is old as well: the same file is not written twice
    assert.deepEqual(readdirSync(folder).sort(), ['numa0-0', 'numa0-1', 'numa1-0']);
    await clock.advance(600_000);
    await rig.prepare(kind, [unit]);
    assert.deepEqual(readdirSync(folder).sort(), ['numa0-1', 'numa1-0']);
  });
});

describe('nabustore.io/gds', () => {
  it('is an HCA with cuFile: the files of both, and as healthy as both', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(GDS);
    const machine = await rig.inventory();
    using deadline = rig.deadline();
    const grant = await kind.grant([await rig.unit(kind, '0000:9c:00.0-1')], machine, deadline);
    assert.deepEqual(
      grant.devices.slice(0, 3).map(({ containerPath }) => containerPath),
      ['/dev/infiniband/uverbs2', '/dev/infiniband/rdma_cm', '/dev/nvidia-fs0'],
    );
    assert.equal(grant.environment.NABUSTORE_GDS_DEVICES, 'mlx5_2');
    assert.equal(grant.environment.CUFILE_ENV_PATH_JSON, '/etc/nabustore/cufile/cufile.json');
    assert.deepEqual(
      kind.units(machine).flatMap(({ id, causes }) => causes.map(({ code }) => `${id} ${code}`)),
      ['0000:ca:00.1-0 link', '0000:ca:00.1-1 link'],
    );
    rig.tree.remove('sys/module/nvidia_fs');
    assert.deepEqual(codes(kind.units(await rig.inventory())), ['nvidia-fs', 'p2pdma', 'link']);
  });

  it('names its own HCA also where the API shows nothing, and others that the container holds where it does', async () => {
    using rig = new CufileRig(H200);
    const kind = rig.kind(GDS);
    const unit = await rig.unit(kind, '0000:9c:00.0-1');
    await rig.prepare(kind, [unit]);
    assert.match(rig.read(kind, unit.id, 'NOTES'), /^HCAs: mlx5_2 \(0000:9c:00\.0\)\.$/m);
    rig.shows(holding({ 'nabustore.io/gds': [unit.id], 'nabustore.io/rdma-x': ['0000:1a:00.0-0'] }));
    await rig.prepare(kind, [unit]);
    const { properties } = JSON.parse(rig.read(kind, unit.id, 'cufile.json'));
    assert.deepEqual(properties.rdma_dev_addr_list, ['192.0.2.26', '192.0.2.156']);
  });
});
