import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { realClock } from '../../../common/ports/index.ts';
import { FakeApiServer } from '../../support/extender/fake-api-server.ts';
import { claimObject, classObject, csiNodeObject, nodeObject, podObject } from '../../support/extender/objects.ts';
import { get, post } from '../../support/extender/served.ts';

const ROOT = join(import.meta.dirname, '../../..');
const READY_MS = 60_000;

describe('nabu scheduler-extender', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-extender-process-'));
  const kubeconfig = join(folder, 'kubeconfig');
  let server: FakeApiServer;
  let child: ChildProcess | undefined;

  beforeEach(async () => {
    server = await FakeApiServer.start();
    server.writeKubeconfig(kubeconfig);
  });
  afterEach(async () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await server.close();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Its ports, from the line that it logs when it listens. */
  async function start(...flags: string[]): Promise<{ child: ChildProcess; port: number; healthPort: number }> {
    const args = ['--disable-warning=ExperimentalWarning', join(ROOT, 'cli/main.ts'), 'scheduler-extender'];
    const spawned = spawn(
      process.execPath,
      [...args, '--kubeconfig', kubeconfig, '--listen', '127.0.0.1:0', ...flags],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    child = spawned;
    for await (const line of createInterface({ input: spawned.stderr })) {
      const { message, port, healthPort } = JSON.parse(line);
      if (message === 'listening') return { child: spawned, port, healthPort };
    }
    throw new Error('it ended before it listened');
  }

  async function untilReady(port: number): Promise<string[]> {
    const said = new Set<string>();
    for (const untilMs = performance.now() + READY_MS; performance.now() < untilMs; ) {
      const { status, text } = await get(port, '/readyz');
      if (status === 200) return [...said];
      said.add(text.trim());
      await realClock.sleep(20);
    }
    throw new Error(`it is not ready: ${[...said].join('; ')}`);
  }

  it('is ready when it knows the cluster, answers a scheduler, and ends on SIGTERM', async () => {
    for (const name of ['n1', 'n2']) {
      server.put('/api/v1/nodes', nodeObject(name));
      server.put('/apis/storage.k8s.io/v1/csinodes', csiNodeObject(name, name === 'n1' ? 8 : 0));
    }
    server.put('/apis/storage.k8s.io/v1/storageclasses', classObject('fast'));
    server.put('/api/v1/persistentvolumeclaims', claimObject('c'));
    const { child: running, port, healthPort } = await start('--health', '127.0.0.1:0');
    const said = await untilReady(healthPort);
    assert(
      said.some((text) => /finds out what has been decided before/.test(text)),
      said.join('; '),
    );
    const body = JSON.stringify({ Pod: podObject('p', { claims: ['c'] }), Nodes: null, NodeNames: ['n1', 'n2'] });
    const answer = JSON.parse((await post(port, '/filter', body)).text);
    assert.deepEqual(answer.NodeNames, ['n1']);
    assert.match(answer.FailedAndUnresolvableNodes.n2, /0 of at most 0 are/);
    const metrics = (await get(healthPort, '/metrics')).text;
    assert.match(metrics, /nabu_extender_known\{kind="nodes"\} 2/);
    assert.match(metrics, /nabu_extender_watch_missing\{kind="locality reports"\} 1/);
    assert.match(metrics, /nabu_extender_reports\{state="believed"\} 0/);
    assert.match(metrics, /nabu_extender_odd_objects\{kind="pods"\} 0/);
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
  });

  it('says what is wrong with its configuration and ends', async () => {
    await assert.rejects(start('--bandwidth-gbytes', '1,2,3'));
    assert.notEqual(child?.exitCode, 0);
  });
});
