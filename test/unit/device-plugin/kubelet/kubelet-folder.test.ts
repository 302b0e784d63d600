import assert from 'node:assert/strict';
import { watch } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { KubeletFolder, type KubeletFolderOptions } from '../../../../device-plugin/kubelet/kubelet-folder.ts';
import { eventually } from '../../../support/kubelet-double.ts';

const BOUND_MS = 2000;
const NEVER_MS = 3_600_000;

describe('the folder of the kubelet', () => {
  let root: string;
  let folder: KubeletFolder;
  let warnings: string[];
  const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    warnings = [];
  });

  afterEach(async () => {
    await folder.close();
    await rm(root, { recursive: true, force: true });
  });

  async function start(options: Partial<KubeletFolderOptions>): Promise<void> {
    folder = new KubeletFolder({ path: join(root, 'plugins'), clock: realClock, logger, pollMs: NEVER_MS, ...options });
    await folder.start();
  }

  it('tells a kubelet from the next by its socket, without waiting for the poll', async () => {
    await mkdir(join(root, 'plugins'));
    await start({});
    assert.equal(folder.kubelet, undefined);
    await writeFile(folder.kubeletSocket, '');
    await eventually('it is seen', () => folder.kubelet !== undefined, BOUND_MS);
    const first = folder.kubelet;
    await rm(folder.kubeletSocket);
    await eventually('it is missed', () => folder.kubelet === undefined, BOUND_MS);
    await writeFile(folder.kubeletSocket, '');
    await eventually('another is seen', () => folder.kubelet !== undefined, BOUND_MS);
    assert.notEqual(folder.kubelet, first);
  });

  it('tells a socket that took the place of another at once', async () => {
    await mkdir(join(root, 'plugins'));
    await start({});
    await writeFile(folder.kubeletSocket, '');
    await eventually('it is seen', () => folder.kubelet !== undefined, BOUND_MS);
    const first = folder.kubelet;
    await writeFile(join(root, 'next'), '');
    await rename(join(root, 'next'), folder.kubeletSocket);
    await eventually('another is seen', () => folder.kubelet !== first, BOUND_MS);
  });

  it('is watched again after it was taken away and made anew', async () => {
    await mkdir(join(root, 'plugins'));
    await start({ pollMs: 20 });
    await rename(folder.path, join(root, 'gone'));
    await mkdir(folder.path);
    await writeFile(folder.kubeletSocket, '');
    await eventually('it is seen', () => folder.kubelet !== undefined, BOUND_MS);
  });

  it('is polled where it cannot be watched, which is said once', async () => {
    let tries = 0;
    const refuse = (): never => {
      tries++;
      throw Object.assign(new Error('no more inotify instances'), { code: 'EMFILE' });
    };
    await mkdir(join(root, 'plugins'));
    await start({ pollMs: 20, watch: refuse });
    await writeFile(folder.kubeletSocket, '');
    await eventually('it is seen', () => folder.kubelet !== undefined, BOUND_MS);
    await eventually('watching is tried again', () => tries > 2, BOUND_MS);
    assert.deepEqual(warnings, ['the kubelet folder cannot be watched: it is polled']);
  });

  it('is polled after a watch broke off', async () => {
    let breaks: () => void = () => assert.fail('it is not watched');
    const fragile: KubeletFolderOptions['watch'] = (path) => {
      const watcher = watch(path, { persistent: false });
      breaks = () => watcher.emit('error', new Error('it broke off'));
      return watcher;
    };
    await mkdir(join(root, 'plugins'));
    await start({ pollMs: 20, watch: fragile });
    breaks();
    await writeFile(folder.kubeletSocket, '');
    await eventually('it is seen', () => folder.kubelet !== undefined, BOUND_MS);
    assert.equal(warnings.length, 1);
  });

  it('tells its listeners after each look, until they have had enough', async () => {
    await start({ pollMs: 5 });
    let looks = 0;
    const unsubscribe = folder.onLook(() => {
      looks++;
      if (looks === 3) unsubscribe();
    });
    let others = 0;
    folder.onLook(() => others++);
    await eventually('the other is told', () => others >= 6, BOUND_MS);
    assert.equal(looks, 3);
  });
});
