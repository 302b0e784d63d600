import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { Claims } from '../../../../device-plugin/agent/claims.ts';
import { configOf, inventoryOf, pathsOf } from '../../../support/recorded-machine.ts';

describe('claims on a node', () => {
  let root: string;
  let clock: SimClock;
  let claims: Claims;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'nabu-claims-'));
    clock = new SimClock();
    const inventory = await inventoryOf('vm-empty');
    claims = new Claims({
      nodeName: 'node-1',
      kubeletDir: join(root, 'kubelet'),
      paths: pathsOf(undefined, { stateDir: root, stateDirInHost: root, cdiDir: join(root, 'cdi') }),
      kubeconfig: join(root, 'no-kubeconfig'),
      machine: { inventory, watch: () => () => undefined },
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      onHolders: () => undefined,
      onMappedNames: () => undefined,
    });
  });

  afterEach(async () => {
    await claims.close();
    assert.equal(clock.pendingTimers, 0);
    rmSync(root, { recursive: true, force: true });
  });

  const plugin = configOf('rdma', {});

  it('are held by nobody where there never were any, and not known before that was looked at', async () => {
    assert.equal(claims.holders.isComplete, false);
    await claims.ready([plugin]);
    assert.deepEqual([claims.holders.isComplete, claims.problem, claims.isRegistered], [true, undefined, false]);
  });

  it('that an earlier process prepared may have any device until the driver runs', async () => {
    mkdirSync(join(root, 'dra', 'claims'), { recursive: true });
    writeFileSync(join(root, 'dra', 'claims', 'one.json'), '{}');
    await claims.ready([plugin]);
    assert.equal(claims.holders.isComplete, false);
  });
});
