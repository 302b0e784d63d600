import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import {
  addFlags,
  configFromCommand,
  defineConfig,
  option,
  parseConfig,
  referenceRows,
} from '../../../../common/config/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';

const definition = defineConfig('stor', {
  dir: option(z.string().min(1), 'where state is kept', '.nabu'),
  listenPort: option(z.int().min(0).max(65535), 'port to listen on', 0),
  direct: option(z.boolean(), 'bypass the page cache', true),
  driver: option(z.enum(['uring', 'memory']), 'device driver', 'uring'),
  nodeId: option(z.string().regex(/^[a-z0-9-]{1,63}$/), 'name of this node'),
});

const refused = (pattern: RegExp) => (err: unknown) => {
  assert(NabuError.is(err, 'CONFIG_INVALID'));
  assert.match(err.message, pattern);
  return true;
};

describe('configuration', () => {
  let folder: string;
  let filePath: string;
  const inFile = (value: unknown): void => writeFileSync(filePath, JSON.stringify(value));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nabu-config-'));
    filePath = join(folder, 'stor.json');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('takes flags before the environment, that before the file, and that before fallbacks', () => {
    inFile({ dir: 'file', listenPort: 1, direct: false, nodeId: 'file' });
    const env = { NABU_STOR_LISTEN_PORT: '2', NABU_STOR_NODE_ID: 'env', PATH: '/bin' };
    const config = parseConfig(definition, { flags: { nodeId: 'flag', dir: undefined }, env, filePath });
    assert.deepEqual(config, { dir: 'file', listenPort: 2, direct: false, driver: 'uring', nodeId: 'flag' });
  });

  it('reads numbers and booleans from text, but leaves text that looks like a number text', () => {
    const env = { NABU_STOR_DIRECT: 'false', NABU_STOR_NODE_ID: '12' };
    const config = parseConfig(definition, { env });
    assert.equal(config.direct, false);
    assert.equal(config.nodeId, '12');
  });

  it('refuses an unknown key by name and shows what is allowed, wherever it stands', () => {
    inFile({ nodeId: 'a', lisenPort: 1 });
    assert.throws(() => parseConfig(definition, { filePath }), refused(/stor\.json.*lisenPort.*listenPort/));
    const env = { NABU_STOR_NODEID: 'a' };
    assert.throws(() => parseConfig(definition, { env }), refused(/NABU_STOR_NODEID.*NABU_STOR_NODE_ID/));
    assert.throws(() => parseConfig(definition, { flags: { no: 1 } }), refused(/flags.*no;.*dir/));
  });

  it('refuses an ill-typed value with the place it came from', () => {
    const nodeId = 'a';
    assert.throws(() => parseConfig(definition, { flags: { nodeId, listenPort: '70000' } }), refused(/--listen-port/));
    assert.throws(
      () => parseConfig(definition, { flags: { nodeId }, env: { NABU_STOR_DRIVER: 'spdk' } }),
      refused(/NABU_STOR_DRIVER.*uring/),
    );
    inFile({ nodeId, listenPort: '1' });
    assert.throws(() => parseConfig(definition, { filePath }), refused(/stor\.json: listenPort/));
  });

  it('says how to give an option that has no fallback', () => {
    assert.throws(() => parseConfig(definition, {}), refused(/nodeId.*--node-id or NABU_STOR_NODE_ID/));
  });

  it('refuses a file that is missing or no JSON object', () => {
    assert.throws(() => parseConfig(definition, { filePath }), refused(/cannot be read/));
    for (const value of [null, [], 'x']) {
      inFile(value);
      assert.throws(() => parseConfig(definition, { filePath }), refused(/not a JSON object/));
    }
  });

  it('describes every option once, with type, range and fallback', () => {
    const rows = referenceRows(definition);
    assert.deepEqual(
      rows.map((row) => row.flag),
      ['--dir', '--listen-port', '--direct', '--driver', '--node-id'],
    );
    assert.equal(rows[1]?.type, 'integer from 0 to 65535');
    assert.equal(rows[3]?.type, 'uring | memory');
    assert.equal(rows[4]?.fallback, 'required');
  });

  it('is what --help shows and the command line sets', () => {
    const command = new Command('stor').exitOverride();
    addFlags(command, definition);
    assert.match(command.helpInformation(), /--listen-port <value>[\s\S]*NABU_STOR_LISTEN_PORT/);
    command.parse(['--node-id', 'n1', '--listen-port', '7', '--direct', 'false'], { from: 'user' });
    const config = configFromCommand(command, definition, {});
    assert.deepEqual([config.nodeId, config.listenPort, config.direct], ['n1', 7, false]);
  });
});
