import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { ExtenderHealth, readyProbe } from '../../../scheduler-extender/gate/index.ts';
import { ExtenderProcess } from '../../kube/scheduler/extender-process.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';

describe('a process that answers schedulers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-extender-hang-'));
  const kubeconfig = join(folder, 'kubeconfig');
  let server: FakeApiServer;
  let extender: ExtenderProcess;
  let health: ExtenderHealth;
  let cuts = 0;

  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await realClock.sleep(5);
  }

  before(async () => {
    server = await FakeApiServer.start();
    server.writeKubeconfig(kubeconfig);
    extender = await ExtenderProcess.start(kubeconfig);
    await extender.untilReady();
    const breaker = async (): Promise<boolean> => ++cuts > 0;
    health = new ExtenderHealth(readyProbe(`http://127.0.0.1:${extender.port}`), realClock, silentLogger, breaker);
    health.start();
  });
  after(async () => {
    await health?.stop();
    await extender?.stop();
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('closes the gate and loses its Service when it hangs, and opens the gate when it goes on', async () => {
    await until(() => health.unhealthy() === undefined);
    extender.signal('SIGSTOP');
    await until(() => health.unhealthy() !== undefined);
    assert.match(health.unhealthy() ?? '', /not within 500 ms/);
    await until(() => cuts === 1);
    extender.signal('SIGCONT');
    await until(() => health.unhealthy() === undefined);
    assert.equal(cuts, 1);
  });

  it('closes the gate when it is killed, and keeps its Service: connections are refused anyhow', async () => {
    await extender.stop('SIGKILL');
    await until(() => health.unhealthy() !== undefined);
    assert.equal(cuts, 1);
  });

  it('does not mind a clock that jumps', async () => {
    extender = await ExtenderProcess.start(kubeconfig);
    await extender.untilReady();
    extender.jumpClock();
    await extender.untilReady();
    extender.jumpClock();
    await extender.untilReady();
  });
});
