import assert from 'node:assert/strict';
import { skip } from '../../support/skip.ts';
import { Plane } from '../plane/plane.ts';
import { OUR_PROFILE, shippedSetup } from '../plane/scheduler-configuration.ts';
import { CapacityWatch } from './capacity-watch.ts';
import { type Judged, regret } from './judge.ts';
import { CLAIMS, claimObject, makeClass, PODS, podObject } from './objects.ts';
import { PodWatch, type SeenPod } from './pod-watch.ts';
import { type Run, ScaleSite } from './scale-site.ts';
import type { Mix } from './workload.ts';

/** A thousand pods: half with claims of ours, and half of the others strangers. */
const MIX: Mix = { made: 200, madeAndModel: 150, bound: 75, near: 75, model: 250, strangers: 250 };
const SEED = 20_261_121;
const START_MS = 240_000;
const RUN_MS = 290_000;
const BOUND_AGAIN_S = 30;
const SETTLED_MS = 120_000;
const GIB = 2 ** 30;
/** ec:4+2, of which engine/control promises nine tenths. */
const RAW_PER_BYTE = 1.5 / 0.9;
const BURST = 500;
const ROOM = 300;
const VOLUME_GIB = 20;

describe('five thousand nodes', () => {
  let scale: ScaleSite;

  before(async function () {
    const missing = await Plane.missing({ fleet: true });
    if (missing !== '') skip(this, missing);
    this.timeout(START_MS);
    scale = await ScaleSite.start({ seed: SEED, mix: MIX });
  });
  after(async () => {
    await scale?.stop();
  });

  /** Room for so many volumes of the burst, and a half: not for one more. */
  async function makeRoomFor(volumes: number): Promise<void> {
    const { availableBytes } = await scale.side.client.getCapacity('ec:4+2', { timeoutMs: 30_000 });
    const missing = (volumes + 0.5) * VOLUME_GIB * GIB - Number(availableBytes);
    assert(missing > 0, 'there is too much room already');
    const [first] = scale.site.storage;
    assert(first !== undefined);
    scale.site.grow(first.id, Math.round(missing * RAW_PER_BYTE));
    await scale.side.register(scale.site.storageNode(first.id));
  }

  it('have a thousand pods placed next to their data, and nobody asks about strangers', async function () {
    this.timeout(RUN_MS);
    const setup = shippedSetup();
    const run = await scale.run({ mix: MIX, setup, prefix: 'p', schedulerName: OUR_PROFILE });
    tell(run);
    assert.deepEqual(run.faults, []);
    const ours = run.pods.filter(({ isOurs }) => isOurs);
    assert.equal(run.judged.length, ours.length);
    const asked = new Set(run.asked);
    assert.deepEqual([...asked].sort(), ours.map(({ name }) => name).sort());
    const offered = regret(run.judged, ({ bestOffered }) => bestOffered);
    const all = regret(run.judged, ({ bestOfAll }) => bestOfAll);
    assert(Math.max(offered.ofSeconds, offered.ofPods) < 0.05, `of what was offered: ${JSON.stringify(offered)}`);
    assert(Math.max(all.ofSeconds, all.ofPods) < 0.15, `of all nodes: ${JSON.stringify(all)}`);
  });

  it('have no more promised than storage nodes have, each volume on enough of them', async () => {
    const records = await scale.side.volumes();
    const claims = (await scale.plane.api.list(CLAIMS)) as readonly {
      readonly spec: { readonly volumeName?: string };
    }[];
    assert.deepEqual(
      records.map(({ name }) => name).sort(),
      claims.map(({ spec }) => spec.volumeName).sort(),
      'a record for each claim and no other',
    );
    const promised = records.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes) * 1.5, 0);
    const raw = scale.site.storage.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
    assert(promised <= raw * 0.9, `${promised} of ${raw}`);
    const hosts = new Map(scale.site.storage.map(({ id, host = id }) => [id, host]));
    for (const { name, homeSet } of records) {
      assert(new Set(homeSet.map((id) => hosts.get(id))).size >= 6, `${name} lies on ${homeSet.join(', ')}`);
    }
  });

  it('let exactly as many pods of a burst run as there is room for, and the others when there is more', async function () {
    this.timeout(RUN_MS);
    const { api } = scale.plane;
    await makeClass(api, 'burst');
    await makeRoomFor(ROOM);
    const watch = await PodWatch.start(api);
    const capacity = await CapacityWatch.start(api, 'burst');
    try {
      const { weight, httpTimeoutMs } = shippedSetup();
      await scale.plane.startScheduler({ weight, httpTimeoutMs, port: scale.extender.port });
      const at = Array.from({ length: BURST }, (_, number) => number);
      await api.createAll(at.map((n) => [CLAIMS, claimObject(`burst-${n}`, `${VOLUME_GIB}Gi`, 'burst')]));
      await api.createAll(at.map((n) => [PODS, podObject(`burst-${n}`, { claims: [`burst-${n}`] })]));
      const pods = (): readonly SeenPod[] => [...watch.pods.values()].filter(({ name }) => name.startsWith('burst-'));
      const running = (): number => pods().filter(({ phase }) => phase === 'Running').length;
      const waiting = (): readonly SeenPod[] => pods().filter(({ node }) => node === '');
      await watch.until(`${ROOM} run and the others know why not`, SETTLED_MS, () => {
        return (
          running() === ROOM && waiting().filter(({ unschedulable }) => unschedulable !== '').length === BURST - ROOM
        );
      });
      for (const { unschedulable } of waiting()) {
        assert.match(unschedulable, /asks for 20 GiB|take 30 GiB .* are free|not have enough free storage/);
      }
      const records = (await scale.side.volumes()).filter(({ sizeBytes }) => sizeBytes === BigInt(VOLUME_GIB * GIB));
      assert.equal(records.length, ROOM, 'and no volume was made for nobody');
      capacity.roseMs = undefined;
      await makeRoomFor(BURST - ROOM);
      await watch.until('all run', SETTLED_MS, () => running() === BURST);
      const { roseMs = Number.NaN } = capacity;
      const afterS = pods()
        .map(({ boundMs = Number.NaN }) => (boundMs - roseMs) / 1000)
        .filter((seconds) => !(seconds < 0))
        .sort((a, b) => a - b);
      const [first, middle, last] = [0, 0.5, 1].map((part) => afterS[Math.round((afterS.length - 1) * part)]);
      say(
        `${afterS.length} more after ${first?.toFixed(1)}, half of them after ${middle?.toFixed(1)}, all after ${last?.toFixed(1)} s`,
      );
      const failed = await api.list('/api/v1/namespaces/default/events?fieldSelector=reason=ProvisioningFailed');
      say(`${failed.length} volumes were asked of the driver that it had no room for`);
      assert(
        last !== undefined && last <= BOUND_AGAIN_S,
        `the last of them ${last} s after the capacity was published`,
      );
    } finally {
      await scale.plane.stopScheduler();
      await capacity.stop();
      await watch.stop();
    }
  });
});

const say = (text: string): unknown => process.stdout.write(`      ${text}\n`);

/** For those who read the log of a run. */
function tell({ judged, seconds, calls, pods }: Run): void {
  say(`${pods.length} pods in ${seconds.toFixed(1)} s, ${calls} calls`);
  const kinds = new Map<string, readonly Judged[]>([['all', judged]]);
  for (const one of judged) {
    const { volumes, readings } = one.pod.oracle;
    const kind = `${volumes} claims, ${readings.length} readings`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
  }
  const percent = (part: number): string => `${(part * 100).toFixed(2)} %`;
  for (const [kind, ones] of kinds) {
    const offered = regret(ones, ({ bestOffered }) => bestOffered);
    const all = regret(ones, ({ bestOfAll }) => bestOfAll);
    const candidates = ones.reduce((sum, one) => sum + one.offered, 0) / ones.length;
    say(
      `${kind}: ${ones.length} pods, ${Math.round(candidates)} candidates; too many seconds beside the best of them ` +
        `${percent(offered.ofSeconds)} (mean of pods ${percent(offered.ofPods)}), of all ${percent(all.ofSeconds)} (${percent(all.ofPods)})`,
    );
  }
}
