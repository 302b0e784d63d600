import assert from 'node:assert/strict';
import { SeededRandom, SimClock } from '../../common/ports/index.ts';
import { parsePolicy, stampOfMs, volumeId } from '../../engine/blob/index.ts';
import { Slab } from '../../engine/slab/index.ts';
import type { VolumeSpec } from '../../engine/volume/home-nodes.ts';
import { fewestAckNodes } from '../../engine/volume/home-quorum.ts';
import { History, LogActor } from './log-history.ts';
import { SimCluster } from './sim-cluster.ts';
import { runUntil } from './sim-run.ts';

const SEEDS = Number(process.env.NABU_SIM_SEEDS ?? 300);
const REAL_SEEDS = Math.ceil(SEEDS / 10);
const FIRST_SEED = Number(process.env.NABU_SIM_SEED ?? 1);
const SHAPES = [
  { policy: 'ec:4+2', nodes: 6 },
  { policy: 'ec:4+2', nodes: 8 },
  { policy: 'ec:2+1', nodes: 4 },
  { policy: 'replica:3', nodes: 6 },
];

let slab: Slab | undefined;

/** A schedule: rounds of openings, writing, crashes, cuts and lost devices; then all is healed and a last opener looks. */
async function play(seed: number, stack: 'model' | 'real'): Promise<{ acknowledged: number; openers: number }> {
  slab ??= Slab.create({ sizeBytes: 128 << 20 });
  const random = new SeededRandom(seed);
  const clock = new SimClock();
  const shape = SHAPES[seed % SHAPES.length] ?? SHAPES[0];
  assert.ok(shape);
  const policy = parsePolicy(shape.policy);
  const cluster = new SimCluster({
    stack,
    nodes: shape.nodes,
    slab,
    clock,
    random: random.fork(),
    setOwnerMs: random.float() < 0.5 ? 3 : 300,
    lossRate: random.float() < 0.5 ? 0 : 0.03,
    takeoverPeers: Math.max(Math.floor(shape.nodes / 2) + 1, policy.m + 1),
  });
  const spec: VolumeSpec = {
    id: volumeId(Buffer.from(random.bytes(16)).toString('hex')),
    sizeBytes: 1n << 30n,
    policy,
    homeSet: cluster.nodes,
    homeSetVersion: 1n,
    createdStamp: stampOfMs(clock.nowMs()),
    failureDomain: 'host',
    maxShardsPerDomain: 1,
  };
  const history = new History();
  const hosts = ['host-a', 'host-b'].map((name) => ({
    name,
    client: cluster.client(name),
    actor: undefined as LogActor | undefined,
  }));
  const running = new Set<Promise<void>>();
  const errors: unknown[] = [];
  const run = (work: Promise<void>): void => {
    const task = work.catch((err: unknown) => void errors.push(err)).finally(() => running.delete(task));
    running.add(task);
  };
  const pick = <T>(from: readonly T[]): T | undefined => from[random.uint32() % Math.max(1, from.length)];
  let turn = 0;
  let emptied = 0;
  let openers = 0;

  const open = async (host: (typeof hosts)[number], openTimeoutMs: number): Promise<void> => {
    const mine = ++turn;
    const epoch = { generation: BigInt(mine), incarnation: BigInt(random.uint32() % 5) };
    const actor = await LogActor.open({ clock, client: host.client, spec, epoch, turn: mine, history, openTimeoutMs });
    if (actor === undefined) return;
    openers++;
    const before = host.actor;
    host.actor = actor;
    // Half of the old writers do not know that they are dead: they go on trying.
    if (before !== undefined && random.float() < 0.5) await before.stop();
  };

  const step = (): void => {
    const host = pick(hosts);
    const node = pick(cluster.nodes);
    if (host === undefined || node === undefined) return;
    const dice = random.float();
    if (dice < 0.08) split();
    else if (dice < 0.24) run(open(host, 400 + random.float() * 1500));
    else if (dice < 0.52) run(host.actor?.write(1 + (random.uint32() % 6)) ?? Promise.resolve());
    else if (dice < 0.6) run(host.actor?.checkpoint() ?? Promise.resolve());
    else if (dice < 0.7) cluster.crash(node);
    else if (dice < 0.82) cluster.start(node);
    else if (dice < 0.9) cluster.network.cut(host.name, node);
    else if (dice < 0.97) cluster.network.heal(host.name, node);
    // A blob that was written degraded survives one loss, no more is promised.
    else if (emptied === 0 && fewestAckNodes(policy) > 1 && cluster.up.length === cluster.nodes.length) {
      emptied++;
      cluster.empty(node);
    }
  };

  /** Each host sees a part of the nodes; the parts overlap in a few, or in none. */
  const split = (): void => {
    const overlap = random.float() * 0.4;
    for (const node of cluster.nodes) {
      const dice = random.float();
      for (const [at, host] of hosts.entries()) {
        const sees = at === 0 ? dice < 0.5 + overlap : dice > 0.5 - overlap;
        if (sees) cluster.network.heal(host.name, node);
        else cluster.network.cut(host.name, node);
      }
    }
  };

  run(open(hosts[0] ?? assert.fail(), 5000));
  for (let i = 0; i < 40; i++) {
    await clock.advance(random.float() * 120);
    step();
    if (errors.length > 0) throw errors[0];
  }
  cluster.network.healAll();
  for (const node of cluster.nodes) cluster.start(node);
  await clock.advance(3000);
  const last = ++turn;
  const final = LogActor.open({
    clock,
    client: cluster.client('last'),
    spec,
    epoch: { generation: BigInt(last), incarnation: 0n },
    turn: last,
    history,
    openTimeoutMs: 60_000,
  });
  const actor = await runUntil(clock, final, 120_000);
  if (errors.length > 0) throw errors[0];
  assert.ok(actor, 'the volume cannot be opened although every node is back');
  await runUntil(clock, actor.write(3), 60_000);
  const acknowledged = history.ids.length;
  const stops = [actor, ...hosts.map((host) => host.actor)].map((each) => each?.stop());
  await runUntil(clock, Promise.all(stops), 120_000);
  await runUntil(clock, Promise.all(running), 120_000);
  cluster.close();
  if (errors.length > 0) throw errors[0];
  return { acknowledged, openers };
}

/** Plays the schedules and asks for what must have happened in them: one in which nothing happens would prove nothing. */
async function playAll(stack: 'model' | 'real', seeds: number): Promise<void> {
  let [acknowledged, openers] = [0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + seeds; seed++) {
    try {
      const played = await play(seed, stack);
      acknowledged += played.acknowledged;
      openers += played.openers;
    } catch (err) {
      throw new Error(`seed ${seed} fails; NABU_SIM_SEED=${seed} NABU_SIM_SEEDS=1 plays it again`, { cause: err });
    }
  }
  if (seeds < 20) return;
  assert.ok(openers >= seeds * 1.3, `${openers} openings`);
  assert.ok(acknowledged >= seeds * 3, `${acknowledged} acknowledged writes`);
}

describe('two openers of one volume', function () {
  this.timeout(600_000);

  it(`leave one line of history in which no acknowledged write is lost (${SEEDS} seeds)`, async () => {
    await playAll('model', SEEDS);
  });

  it(`do so with the real client and nodes too (${REAL_SEEDS} seeds)`, async () => {
    await playAll('real', REAL_SEEDS);
  });
});
