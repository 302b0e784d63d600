import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { DeviceModes, type Held, modeCause, pluginHolders } from '../../../../device-plugin/mode/index.ts';
import type { PodHolding } from '../../../../device-plugin/pod-resources/index.ts';
import { holding } from '../../../support/cufile-rig.ts';
import { eventually } from '../../../support/kubelet-double.ts';

const HCA = '0000:1a:00.0';
const WAIT_MS = 5000;
const SETTLE_MS = 60;
const NOBODY: Held = { devices: new Set(), isComplete: true };
const held = (...devices: string[]): Held => ({ devices: new Set(devices), isComplete: true });

/** A node whose holders the test decides. */
class Node implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'nabu-modes-'));
  pods: readonly PodHolding[] | NabuError = [];
  claims: Held = NOBODY;
  heard = 0;
  readonly errors: string[] = [];
  modes: DeviceModes;
  readonly #logger: Logger = {
    ...silentLogger,
    child: () => this.#logger,
    error: (message) => void this.errors.push(message),
  };

  constructor() {
    this.modes = this.#make();
  }

  #make(): DeviceModes {
    const modes = new DeviceModes({
      path: this.path,
      podResources: {
        list: async () => {
          if (this.pods instanceof Error) throw this.pods;
          return this.pods;
        },
      },
      claimHolders: () => this.claims,
      clock: realClock,
      logger: this.#logger,
      pollMs: 10,
      settleMs: SETTLE_MS,
    });
    modes.watch(() => this.heard++);
    return modes;
  }

  get path(): string {
    return join(this.folder, 'modes.json');
  }

  holds(...ids: readonly string[]): void {
    const container = holding({ 'nabustore.io/rdma': ids });
    this.pods = ids.length === 0 ? [] : [{ namespace: 'ml', name: 'train-0', containers: [container] }];
  }

  async restart(): Promise<void> {
    await this.modes.close();
    this.modes = this.#make();
    await this.modes.start();
  }

  async until(mode: 'plugin' | 'dra'): Promise<void> {
    await eventually(
      `${HCA} is given out in mode ${mode}`,
      () => this.modes.withheld(HCA, mode) === undefined,
      WAIT_MS,
      () => this.modes.withheld(HCA, mode),
    );
  }

  async untilSaved(mode: 'plugin' | 'dra'): Promise<void> {
    const text = (): string => {
      try {
        return readFileSync(this.path, 'utf8');
      } catch {
        return '';
      }
    };
    await eventually(`${mode} is written down`, () => text().includes(`"${HCA}": "${mode}"`), WAIT_MS, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.modes.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describe('the mode of a device', () => {
  it('is the one that is wanted when nobody has it the other way', () => {
    for (const mode of ['plugin', 'dra'] as const) {
      assert.equal(modeCause(HCA, mode, { plugin: NOBODY, dra: NOBODY }), undefined);
      assert.equal(modeCause(HCA, mode, { plugin: held('other'), dra: held('other') }), undefined);
    }
    // Whoever has it this way already is no obstacle.
    assert.equal(modeCause(HCA, 'dra', { plugin: NOBODY, dra: held(HCA) }), undefined);
  });

  it('waits for whoever has it the other way, or may have', () => {
    assert.match(modeCause(HCA, 'dra', { plugin: held(HCA), dra: NOBODY })?.detail ?? '', /by the device plugin/);
    assert.match(modeCause(HCA, 'plugin', { plugin: NOBODY, dra: held(HCA) })?.detail ?? '', /by a claim/);
    assert.match(modeCause(HCA, 'dra', { plugin: undefined, dra: NOBODY })?.detail ?? '', /cannot be told now/);
    const unknown = { devices: new Set<string>(), isComplete: false };
    assert.match(modeCause(HCA, 'plugin', { plugin: NOBODY, dra: unknown })?.detail ?? '', /may be 0000:1a/);
  });

  it('is known to be held by pods from the units of our resources alone', () => {
    const container = holding({
      'nabustore.io/rdma-fast': [`${HCA}-3`],
      'nabustore.io/cufile': ['numa0-1'],
      'other.io/rdma': ['0000:ff:00.0-0'],
    });
    const pods = [{ namespace: 'ml', name: 'train-0', containers: [container] }];
    assert.deepEqual(pluginHolders(pods), held(HCA));
  });
});

describe('the modes of a node', () => {
  it('let the device plugin have what claims do not, at once', async () => {
    await using node = new Node();
    node.pods = NabuError.of('UNAVAILABLE', { target: 'the kubelet', reason: 'it is not there' });
    await node.modes.start();
    assert.equal(node.modes.withheld(HCA, 'plugin'), undefined);
    await node.untilSaved('plugin');
  });

  it('are written down when the disk takes them again', async () => {
    await using node = new Node();
    await node.modes.start();
    mkdirSync(node.path); // where the file goes
    assert.equal(node.modes.withheld(HCA, 'plugin'), undefined);
    await eventually('it fails', () => node.errors.length > 0, WAIT_MS);
    rmSync(node.path, { recursive: true });
    await node.untilSaved('plugin');
    assert.deepEqual(node.errors, ['the modes of devices cannot be kept']);
  });

  it('ask the kubelet before claims have a device for the first time', async () => {
    await using node = new Node();
    node.holds(`${HCA}-0`);
    await node.modes.start();
    assert.equal(node.modes.withheld(HCA, 'dra')?.code, 'mode');
    await eventually(
      'it says why',
      () => /a pod still has/.test(node.modes.withheld(HCA, 'dra')?.detail ?? ''),
      WAIT_MS,
    );
    node.holds();
    await node.until('dra');
  });

  it('change when the last pod has gone, for long enough, and tell', async () => {
    await using node = new Node();
    await node.modes.start();
    assert.equal(node.modes.withheld(HCA, 'plugin'), undefined);
    node.holds(`${HCA}-0`, `${HCA}-1`);
    assert.notEqual(node.modes.withheld(HCA, 'dra'), undefined);
    await eventually(
      'it says why',
      () => /a pod still has/.test(node.modes.withheld(HCA, 'dra')?.detail ?? ''),
      WAIT_MS,
    );
    const { heard } = node;
    const beforeMs = performance.now();
    node.holds();
    await node.until('dra');
    assert.ok(performance.now() - beforeMs >= SETTLE_MS);
    assert.ok(node.heard > heard);
    await node.untilSaved('dra');
  });

  it('change back when the last claim has ended', async () => {
    await using node = new Node();
    await node.modes.start();
    node.modes.withheld(HCA, 'dra');
    await node.until('dra');
    node.claims = held(HCA);
    assert.match(node.modes.withheld(HCA, 'plugin')?.detail ?? '', /by a claim/);
    node.claims = NOBODY;
    node.modes.look();
    await node.until('plugin');
  });

  it('do not change while nobody can tell, and not for one look between two pods', async () => {
    await using node = new Node();
    await node.modes.start();
    node.modes.withheld(HCA, 'plugin');
    await node.untilSaved('plugin');
    node.pods = NabuError.of('UNAVAILABLE', { target: 'the kubelet', reason: 'it restarts' });
    node.modes.withheld(HCA, 'dra');
    await eventually(
      'it says why',
      () => /cannot be told/.test(node.modes.withheld(HCA, 'dra')?.detail ?? ''),
      WAIT_MS,
    );
    node.holds(`${HCA}-0`);
    await eventually('it is held', () => /still has/.test(node.modes.withheld(HCA, 'dra')?.detail ?? ''), WAIT_MS);
  });

  it('outlive the process: no look is needed for what was so before', async () => {
    await using node = new Node();
    await node.modes.start();
    node.modes.withheld(HCA, 'dra');
    await node.until('dra');
    await node.untilSaved('dra');
    node.pods = NabuError.of('UNAVAILABLE', { target: 'the kubelet', reason: 'it restarts' });
    await node.restart();
    assert.equal(node.modes.withheld(HCA, 'dra'), undefined);
    assert.notEqual(node.modes.withheld('0000:3c:00.0', 'dra'), undefined);
  });

  it('are looked for anew when the file that has them cannot be read', async () => {
    await using node = new Node();
    writeFileSync(node.path, '{"version":1,"modes":{"0000:1a:00.0":"dra"');
    node.holds(`${HCA}-0`);
    await node.modes.start();
    assert.notEqual(node.modes.withheld(HCA, 'dra'), undefined);
  });

  it('stay as they are when the configuration changes its mind', async () => {
    await using node = new Node();
    await node.modes.start();
    node.modes.withheld(HCA, 'plugin');
    await node.untilSaved('plugin');
    node.holds(`${HCA}-0`);
    assert.notEqual(node.modes.withheld(HCA, 'dra'), undefined);
    assert.equal(node.modes.withheld(HCA, 'plugin'), undefined);
    node.holds();
    await node.restart();
    assert.equal(node.modes.withheld(HCA, 'plugin'), undefined);
  });
});
