import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { skip } from '../../support/skip.ts';
import { TestCluster } from '../cluster.ts';
import { WriterProcess } from './writer-process.ts';

const MIB = 1 << 20;
const SEED = Number(process.env.NABU_SEED ?? 20_251_121);
const SERVER_KILLS = 100;
const NODE_KILLS = 100;
/** What ec:4+2 stands. */
const MOST_NODES_DEAD = 2;
const KILLS_PER_VERIFY = 10;
const LOSSES = 3;

const command = promisify(execFile);

async function run(program: string, ...args: string[]): Promise<string> {
  return (await command(program, args, { timeout: 60_000 })).stdout;
}

describe('volumes under a verifying writer, while servers and storage nodes are killed', function () {
  this.timeout(900_000);
  this.bail(true); // what went wrong once is expected from then on
  const random = new SeededRandom(SEED);
  let cluster: TestCluster;
  let writer: WriterProcess;
  let raw = { id: '', device: '' };
  let mounted = { id: '', device: '' };
  let mountPath = '';

  before(async function () {
    const missing = await TestCluster.missing();
    if (missing !== '') skip(this, missing);
    cluster = await TestCluster.start({ deviceSizeBytes: 640 * MIB });
    raw = await cluster.openVolume({ name: 'raw', sizeBytes: 64 * MIB });
    mounted = await cluster.openVolume({ name: 'ext4', sizeBytes: 128 * MIB });
    mountPath = join(cluster.dir, 'mnt');
    await mkdir(mountPath);
    await run('mkfs.ext4', '-q', '-F', mounted.device);
    await run('mount', mounted.device, mountPath);
    await writeFile(file(), '');
    await truncate(file(), 16 * MIB);
    writer = WriterProcess.start(random.uint32());
    await openWriter();
    await writer.run({ do: 'prepare' });
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`seed ${SEED}\n${await cluster.logs()}`);
  });

  after(async () => {
    await writer?.stop();
    await cluster?.close();
  });

  const file = (): string => join(mountPath, 'stamped');
  const openWriter = async (): Promise<void> => {
    await writer.run({ do: 'open', raw: raw.device, file: file() });
  };

  /** Nothing of what the kernel saw was an error. */
  const checkFileSystem = async (): Promise<void> => {
    assert.match(await readFile('/proc/self/mounts', 'utf8'), new RegExp(`${mountPath} ext4 rw`), 'turned read-only');
    const errors = await readFile(`/sys/fs/ext4/${basename(mounted.device)}/errors_count`, 'utf8');
    assert.equal(errors.trim(), '0', 'errors that ext4 counted');
  };

  /** Kills whatever server there is, at moments that may lie in the middle of its start; what the writer wrote is looked at every few. */
  const killServers = async (kills: number): Promise<void> => {
    const keeper = cluster.keeper();
    try {
      let last = 0;
      for (let killed = 0; killed < kills; ) {
        const isEarly = random.float() < 0.3;
        if (!isEarly) await cluster.serverReady(raw.id, mounted.id);
        await realClock.sleep(random.float() * (isEarly ? 300 : 120));
        const { serverPid } = await keeper.ping();
        if (serverPid === 0 || serverPid === last) continue; // none yet
        process.kill(serverPid, 'SIGKILL');
        last = serverPid;
        killed++;
        if (killed % KILLS_PER_VERIFY !== 0) continue;
        await writer.run({ do: 'pause' });
        await writer.run({ do: 'verify' });
        await killBetweenWriteAndFlush(keeper);
        await writer.run({ do: 'start' });
      }
    } finally {
      keeper.close();
    }
  };

  /** A write that completed and was not flushed is with the next server. */
  const killBetweenWriteAndFlush = async (keeper: ReturnType<TestCluster['keeper']>): Promise<void> => {
    await writer.run({ do: 'complete-one' });
    const { serverPid } = await keeper.ping();
    assert.notEqual(serverPid, 0);
    process.kill(serverPid, 'SIGKILL');
    await writer.run({ do: 'verify' });
    await writer.run({ do: 'flush' });
    await writer.run({ do: 'verify' });
  };

  /** One of these loops has one node dead at a time. */
  const killNodes = async (idle: string[], take: () => boolean): Promise<void> => {
    while (take()) {
      const [node] = idle.splice(random.uint32() % idle.length, 1);
      assert.ok(node !== undefined);
      await cluster.killNode(node);
      await realClock.sleep(random.float() * 200);
      await cluster.startNode(node);
      idle.push(node);
      await realClock.sleep(random.float() * 200);
    }
  };

  it(`loses nothing in ${SERVER_KILLS} kills of the server and ${NODE_KILLS} of storage nodes, and shows no error`, async () => {
    await writer.run({ do: 'start' });
    const idle = [...cluster.nodes];
    let left = NODE_KILLS;
    const loops = Array.from({ length: MOST_NODES_DEAD }, () => killNodes(idle, () => left-- > 0));
    const serverKills = killServers(SERVER_KILLS).catch((err: unknown) => {
      left = 0; // nothing may start any more when this test has failed
      throw err;
    });
    for (const ended of await Promise.allSettled([serverKills, ...loops])) {
      if (ended.status === 'rejected') throw ended.reason;
    }
    await cluster.serverReady(raw.id, mounted.id);
    await writer.run({ do: 'pause' });
    await writeFile('/proc/sys/vm/drop_caches', '3');
    const { writes, flushes, verified } = await writer.run({ do: 'verify' });
    await checkFileSystem();
    process.stdout.write(`      ${writes} writes, ${flushes} flushes, ${verified} reads verified\n`);
  });

  it('keeps what was flushed, and of the rest the first writes, when the keeper dies with the server', async () => {
    for (let loss = 0; loss < LOSSES; loss++) {
      await writer.run({ do: 'start' });
      await realClock.sleep(300 + random.float() * 500);
      await writer.run({ do: 'expect-loss' });
      await cluster.killKeeperAndServer();
      await writer.run({ do: 'pause' });
      await writer.run({ do: 'close' });
      await cluster.cleanUpKeeper();
      await cluster.startKeeper();
      raw = await cluster.reopenVolume(raw.id);
      mounted = await cluster.reopenVolume(mounted.id);
      await run('mount', mounted.device, mountPath);
      await openWriter();
      await writer.run({ do: 'settle' });
      await checkFileSystem();
    }
    await writer.run({ do: 'close' });
    await run('umount', mountPath);
    await run('e2fsck', '-fn', mounted.device);
  });
});
