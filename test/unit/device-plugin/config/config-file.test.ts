import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { ConfigFile, type ConfigFileOptions } from '../../../../device-plugin/config/index.ts';
import { eventually } from '../../../support/kubelet-double.ts';

const BOUND_MS = 2000;
const slots = (count: number): string => `version: v1\nresources: [{ kind: rdma, slots: ${count} }]\n`;

describe('the configuration file while the plugin runs', () => {
  let root: string;
  let path: string;
  let file: ConfigFile;
  let seen: (number | undefined)[];
  let outcomes: string[];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'nabu-config-'));
    path = join(root, 'resources.yaml');
    seen = [];
    outcomes = [];
  });

  afterEach(async () => {
    await file.close();
    rmSync(root, { recursive: true, force: true });
  });

  function open(options: Partial<ConfigFileOptions> = {}): ConfigFile {
    const onRead = (outcome: string): void => void outcomes.push(outcome);
    file = new ConfigFile({ path, clock: realClock, logger: silentLogger, onRead, pollMs: 60_000, ...options });
    file.watch(({ resources: [first] }) => seen.push(first?.kind === 'rdma' ? first.slots : undefined));
    return file;
  }

  const until = (what: string, isTrue: () => boolean): Promise<void> =>
    eventually(what, isTrue, BOUND_MS, () => ({ seen, outcomes, problem: file.problem }));

  it('is refused at the start when it is not there, is a folder, or is not text, by its path', async () => {
    await assert.rejects(open().start(), { code: 'CONFIG_INVALID', message: `configuration ${path}: it is not there` });
    writeFileSync(path, Buffer.from([0xff, 0xfe, 0x00]));
    await assert.rejects(open().start(), { message: `configuration ${path}: it is not UTF-8` });
    writeFileSync(path, Buffer.alloc((1 << 20) + 1, '#'));
    await assert.rejects(open().start(), /more than 1048576 bytes/);
    rmSync(path);
    mkdirSync(path);
    await assert.rejects(open().start(), { message: `configuration ${path}: it is not a file` });
    assert.deepEqual(outcomes, Array(4).fill('refused'));
  });

  it('is not waited for where a pipe lies in its place, or a link to itself', async () => {
    execFileSync('mkfifo', [path]);
    await assert.rejects(open().start(), { message: `configuration ${path}: it is not a file` });
    rmSync(path);
    symlinkSync(path, path);
    await assert.rejects(open().start(), { message: `configuration ${path}: it cannot be read (ELOOP)` });
  });

  it('comes into force when it is written anew or replaced', async () => {
    writeFileSync(path, slots(1));
    await open().start();
    writeFileSync(path, slots(2));
    await until('2 slots', () => seen.at(-1) === 2);
    writeFileSync(`${path}.new`, slots(3));
    renameSync(`${path}.new`, path);
    await until('3 slots', () => seen.at(-1) === 3);
    assert.deepEqual([seen, file.problem], [[2, 3], undefined]);
  });

  it('comes into force when a ConfigMap turns its link', async () => {
    const version = (name: string, count: number): void => {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, 'resources.yaml'), slots(count));
      symlinkSync(name, join(root, '..data_tmp'));
      renameSync(join(root, '..data_tmp'), join(root, '..data'));
    };
    version('..2026_1', 1);
    symlinkSync('..data/resources.yaml', path);
    await open().start();
    version('..2026_2', 2);
    await until('2 slots', () => seen.at(-1) === 2);
    rmSync(join(root, '..2026_1'), { recursive: true });
    version('..2026_3', 3);
    await until('3 slots', () => seen.at(-1) === 3);
    assert.deepEqual(seen, [2, 3]);
  });

  it('changes nothing while it is wrong or away, says why, and is followed on', async () => {
    writeFileSync(path, slots(1));
    await open().start();
    writeFileSync(path, slots(0));
    await until('refused', () => file.problem !== undefined);
    assert.equal(
      file.problem,
      `configuration ${path}: resources[0].slots is 0; allowed: a whole number from 1 to 1000`,
    );
    rmSync(path);
    await until('away', () => file.problem?.endsWith('it is not there') === true);
    assert.equal(file.config.resources.length, 1);
    assert.deepEqual(seen, []);
    writeFileSync(path, slots(1));
    await until('as it was', () => file.problem === undefined);
    assert.deepEqual(seen, []);
    writeFileSync(path, slots(4));
    await until('4 slots', () => seen.at(-1) === 4);
    assert.deepEqual(outcomes, ['ok', 'refused', 'refused', 'ok', 'ok']);
  });

  it('is followed when its whole folder is replaced', async () => {
    const folder = join(root, 'etc');
    mkdirSync(folder);
    writeFileSync(join(folder, 'a.yaml'), slots(1));
    await open({ path: join(folder, 'a.yaml'), pollMs: 50 }).start();
    mkdirSync(`${folder}.new`);
    writeFileSync(join(`${folder}.new`, 'a.yaml'), slots(2));
    renameSync(folder, `${folder}.old`);
    renameSync(`${folder}.new`, folder);
    await until('2 slots', () => seen.at(-1) === 2);
    writeFileSync(join(folder, 'a.yaml'), slots(3));
    await until('3 slots', () => seen.at(-1) === 3);
  });

  it('is looked at from time to time where its folder cannot be watched', async () => {
    writeFileSync(path, slots(1));
    const watch = (): never => {
      throw new RangeError('no inotify instances are left');
    };
    await open({ pollMs: 20, watch }).start();
    writeFileSync(path, slots(2));
    await until('2 slots', () => seen.at(-1) === 2);
  });
});
