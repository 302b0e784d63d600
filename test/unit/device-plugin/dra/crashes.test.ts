import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { ClaimPreparer } from '../../../../device-plugin/dra/claim-preparer.ts';
import type { ResourceName } from '../../../../device-plugin/kubelet/index.ts';
import { CUFILE_FOLDER } from '../../../../device-plugin/resources/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { allocated } from '../../../support/claim-objects.ts';
import { type DraPool, DraRig } from '../../../support/dra-rig.ts';
import { dyingAt } from '../../../support/dying-files.ts';
import type { Claim } from '../../../support/kubelet-dra-double.ts';

const train = allocated('train', ['hca-0000-1a-00-0']);
const other = allocated('other', ['hca-0000-3c-00-0']);
const FILES = { NOTES: 'made for a test\n', 'cufile.json': '{}\n' };
/** More than any of these takes. */
const MOST_STEPS = 100;

/** A node's folders, in which one process after the other is at work. */
class Folders implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'nabu-crash-'));
  readonly #pool: DraPool;

  constructor(pool: DraPool) {
    this.#pool = pool;
  }

  /** A copy for one more trial. */
  copy(): Folders {
    const copy = new Folders(this.#pool);
    cpSync(this.root, copy.root, { recursive: true });
    return copy;
  }

  process(bootId = 'this boot'): ClaimPreparer {
    return new ClaimPreparer({
      paths: { cdiDir: join(this.root, 'cdi'), stateDir: join(this.root, 'state'), stateDirInHost: '/state' },
      poolName: 'node-1',
      pools: new Map([[this.#pool.kind.resource as ResourceName, this.#pool]]),
      fetchClaim: async ({ name }) => (name === 'train' ? train.object : other.object),
      cufile: async () => ({ files: FILES, notes: [] }),
      cufileFolder: CUFILE_FOLDER,
      bootId,
      logger: silentLogger,
    });
  }

  async prepared(claim: Claim, process = this.process()): Promise<ClaimPreparer> {
    await process.start();
    using deadline = new Deadline({ clock: realClock, operation: 'prepare', timeoutMs: 10_000 });
    await process.prepare(claim, deadline);
    return process;
  }

  async ended(claim: Claim, process = this.process()): Promise<ClaimPreparer> {
    await process.start();
    using deadline = new Deadline({ clock: realClock, operation: 'unprepare', timeoutMs: 10_000 });
    await process.unprepare(claim, deadline);
    return process;
  }

  /** What a runtime finds: every file of its kind is whole. */
  get specs(): string[] {
    const folder = join(this.root, 'cdi');
    const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : [];
    for (const name of names) JSON.parse(readFileSync(join(folder, name), 'utf8'));
    return names.map((name) => name.replace(/^.*_(.*)\.json$/, '$1')).sort();
  }

  /** All that there is of a claim is there. */
  assertPrepared({ uid }: Claim): void {
    assert.ok(this.specs.includes(uid), `no spec of ${uid}`);
    for (const [name, text] of Object.entries(FILES)) {
      assert.equal(readFileSync(join(this.root, 'state', 'dra', 'files', uid, name), 'utf8'), text);
    }
  }

  /** Nothing of it is. */
  assertGone({ uid }: Claim): void {
    const left = readdirSync(this.root, { recursive: true })
      .map(String)
      .filter((path) => path.includes(uid));
    assert.deepEqual(left, []);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Every trial of a piece of work, dying one step later each time, until it lives. */
async function eachDeath(
  begin: Folders,
  work: (folders: Folders) => Promise<unknown>,
  check: (folders: Folders, step: number) => Promise<void>,
): Promise<number> {
  for (let step = 1; step < MOST_STEPS; step++) {
    using folders = begin.copy();
    const lived = await dyingAt(step, () => work(folders));
    await check(folders, step);
    if (lived) return step - 1;
  }
  throw new RangeError(`more than ${MOST_STEPS} steps`);
}

describe('a driver that dies at any step', () => {
  let rig: DraRig;
  let pool: DraPool;

  before(async () => {
    rig = new DraRig(MACHINES['h200-8gpu']);
    pool = await rig.pool({ kind: 'gds', version: '1.17', select: { linkLayers: ['InfiniBand'] } });
  });

  after(() => rig[Symbol.dispose]());

  it('while it prepares a claim: the next one finishes it, or ends it without a rest', async () => {
    using begin = new Folders(pool);
    await begin.prepared(other.claim);
    const steps = await eachDeath(
      begin,
      (folders) => folders.prepared(train.claim),
      async (folders) => {
        folders.assertPrepared(other.claim);
        using again = folders.copy();
        await again.prepared(train.claim);
        again.assertPrepared(train.claim);
        again.assertPrepared(other.claim);
        await folders.ended(train.claim);
        folders.assertGone(train.claim);
        folders.assertPrepared(other.claim);
      },
    );
    assert.ok(steps > 15, `${steps} steps`);
  });

  it('while it ends a claim: the next one ends it, or has it back whole', async () => {
    using begin = new Folders(pool);
    await begin.prepared(other.claim);
    await begin.prepared(train.claim);
    await eachDeath(
      begin,
      (folders) => folders.ended(train.claim),
      async (folders) => {
        folders.assertPrepared(other.claim);
        using again = folders.copy();
        await again.prepared(train.claim);
        again.assertPrepared(train.claim);
        await folders.ended(train.claim);
        folders.assertGone(train.claim);
        folders.assertPrepared(other.claim);
      },
    );
  });

  it('while it starts: nothing that is held is lost', async () => {
    using begin = new Folders(pool);
    await begin.prepared(train.claim);
    rmSync(join(begin.root, 'cdi'), { recursive: true });
    await eachDeath(
      begin,
      (folders) => folders.process().start(),
      async (folders) => {
        const next = folders.process();
        await next.start();
        folders.assertPrepared(train.claim);
        assert.deepEqual([...next.holders.devices], ['0000:1a:00.0']);
      },
    );
  });

  it('after a boot: a claim holds its device, and is made anew only when the kubelet asks', async () => {
    using begin = new Folders(pool);
    await begin.prepared(train.claim);
    await eachDeath(
      begin,
      (folders) => folders.prepared(train.claim, folders.process('the next boot')),
      async (folders) => {
        const next = folders.process('the next boot');
        await next.start();
        assert.deepEqual([...next.holders.devices], ['0000:1a:00.0']);
        await folders.prepared(train.claim, folders.process('the next boot'));
        folders.assertPrepared(train.claim);
      },
    );
  });
});
