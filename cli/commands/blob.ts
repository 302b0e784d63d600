import { open, readFile, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Layout } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import {
  blobKeyFromHex,
  blobKeyHex,
  hexOf,
  MAX_BLOB_BYTES,
  type Policy,
  parsePolicy,
} from '../../engine/blob/index.ts';
import type { BlobClient } from '../../engine/client/index.ts';
import { act, type CommonOptions, withCommonOptions } from '../action.ts';
import { openBlobClient } from '../data-plane.ts';
import { print } from '../output.ts';
import { formatBytes } from '../quantity.ts';
import { withControl } from '../volume-lookup.ts';

type BlobOptions = CommonOptions & { readonly policy?: string };
type Work = { readonly blobs: BlobClient; readonly policy: Policy; readonly deadline: Deadline };

const TIMEOUT_MS = 60_000;
const POLICY = "what it is stored under; the default is the cluster's";

export function register(program: Command): void {
  const blob = program.command('blob').description('content blobs: the key is the BLAKE3 of the bytes');
  withCommonOptions(blob.command('put <file>').description('store a file of at most 64 MiB; prints its key'))
    .option('--policy <policy>', POLICY)
    .action(
      act<BlobOptions, [string]>(async (layout, options, file) => {
        const { size } = await stat(file).catch((cause: unknown) => {
          throw NabuError.of('INVALID_ARGUMENT', { field: 'file', reason: `${file} cannot be read` }, { cause });
        });
        if (size === 0 || size > MAX_BLOB_BYTES) {
          const reason = `${file} has ${size} bytes, a blob has 1 to ${MAX_BLOB_BYTES}`;
          throw NabuError.of('INVALID_ARGUMENT', { field: 'file', reason });
        }
        const data = await readFile(file);
        const put = await withBlobs(layout, options, 'storing a blob', ({ blobs, policy, deadline }) =>
          blobs.put({ key: 'content', data, policy, deadline }),
        );
        const key = blobKeyHex(put.key);
        const answer = { key, sizeBytes: data.length, hit: put.hit, degraded: put.degraded, nodes: put.nodes };
        print(options.json === true, answer, () => key);
      }),
    );
  withCommonOptions(blob.command('get <key>').description('read a blob to standard output or a file'))
    .option('--policy <policy>', POLICY)
    .option('-o, --output <file>', 'where to write it')
    .action(act<BlobOptions & { readonly output?: string }, [string]>(get));
  withCommonOptions(blob.command('stat <key>').description('where the shards of a blob lie'))
    .option('--policy <policy>', POLICY)
    .action(
      act<BlobOptions, [string]>(async (layout, options, text) => {
        const key = blobKeyFromHex(text);
        const found = await withBlobs(layout, options, 'asking for a blob', ({ blobs, policy, deadline }) =>
          blobs.stat({ key, policy, deadline }),
        );
        const { blobLength, k, m, shards, silent } = found;
        const answer = { key: text, stripeId: hexOf(found.stripeId), sizeBytes: blobLength, k, m, shards, silent };
        print(options.json === true, answer, () => {
          const places = shards.map((node, index) => `  shard ${index}: ${node ?? 'missing'}`);
          return [`${formatBytes(blobLength)}, ${k}+${m}`, ...places].join('\n');
        });
      }),
    );
  withCommonOptions(blob.command('rm <key>').description('delete a blob'))
    .option('--policy <policy>', POLICY)
    .action(
      act<BlobOptions, [string]>(async (layout, options, text) => {
        const key = blobKeyFromHex(text);
        await withBlobs(layout, options, 'deleting a blob', ({ blobs, policy, deadline }) =>
          blobs.delete({ keys: [key], policy, deadline }),
        );
        print(options.json === true, { key: text, deleted: true }, () => `${text} is deleted`);
      }),
    );
}

async function get(layout: Layout, options: BlobOptions & { readonly output?: string }, text: string): Promise<void> {
  const key = blobKeyFromHex(text);
  await withBlobs(layout, options, 'reading a blob', async ({ blobs, policy, deadline }) => {
    const { slot, offset, length } = await blobs.get({ key, policy, deadline });
    try {
      const bytes = slot.bytes.subarray(offset, offset + length);
      if (options.output === undefined) await writeOut(bytes);
      else await writeFileDurably(options.output, bytes);
    } finally {
      slot.release();
    }
  });
}

function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (err) => (err ? reject(err) : resolve()));
  });
}

async function writeFileDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function withBlobs<T>(
  layout: Layout,
  options: BlobOptions,
  operation: string,
  work: (tools: Work) => Promise<T>,
): Promise<T> {
  using deadline = new Deadline({ clock: realClock, operation, timeoutMs: TIMEOUT_MS });
  const { map, policy } = await withControl(layout, async (control) => ({
    map: await control.getMap({ deadline }),
    policy: parsePolicy(options.policy ?? (await control.getCapacity('', { deadline })).policy),
  }));
  const blobs = openBlobClient(map);
  try {
    return await work({ blobs, policy, deadline });
  } finally {
    await blobs.close();
  }
}
