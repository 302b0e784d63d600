import { constants, open } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';
import { invalid, parsePluginConfig } from './parse.ts';
import type { PluginConfig } from './plugin-config.ts';

/** A ConfigMap has at most 1 MiB (Kubernetes, MaxSecretSize). */
const LIMIT_BYTES = 1 << 20;

/** The text of the file. Throws CONFIG_INVALID that names it and says what is wrong with it. */
export async function readConfigText(path: string): Promise<string> {
  try {
    // A pipe in its place is not waited for.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile()) throw invalid(path, 'it is not a file');
    const buffer = Buffer.alloc(LIMIT_BYTES + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    if (bytesRead > LIMIT_BYTES) throw invalid(path, `it has more than ${LIMIT_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, bytesRead));
  } catch (err) {
    if (NabuError.is(err)) throw err;
    throw invalid(path, reasonOf(err), err);
  }
}

function reasonOf(err: unknown): string {
  const code: unknown = Reflect.get(Object(err), 'code');
  if (code === 'ENOENT') return 'it is not there';
  if (code === 'EACCES' || code === 'EPERM') return 'it may not be read';
  return code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'it is not UTF-8' : `it cannot be read (${String(code)})`;
}

/** The configuration in a file. Throws CONFIG_INVALID. */
export async function readPluginConfig(path: string): Promise<PluginConfig> {
  return parsePluginConfig(await readConfigText(path), path);
}
