import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { run } from '../host/run.ts';

export type FolderImageOptions = {
  readonly name: string;
  /** What becomes the root of containers. */
  readonly folder: string;
  readonly entrypoint: readonly string[];
  /** Where the archive is written. */
  readonly archive: string;
};

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** As ociImage, for what is too large to hold in memory: hundreds of megabytes in a folder. */
export async function folderImage({ name, folder, entrypoint, archive }: FolderImageOptions): Promise<void> {
  const layout = await mkdtemp(join(tmpdir(), 'nabu-image-'));
  const blobs = join(layout, 'blobs/sha256');
  const platform = { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch };

  async function put(mediaType: string, path: string): Promise<Descriptor> {
    const digest = await digestOf(path);
    const { size } = await stat(path);
    await rename(path, join(blobs, digest));
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest: `sha256:${digest}`, size };
  }
  async function putJson(mediaType: string, value: unknown): Promise<Descriptor> {
    const path = join(layout, 'part.json');
    await writeFile(path, JSON.stringify(value));
    return await put(mediaType, path);
  }

  try {
    await mkdir(blobs, { recursive: true });
    const packed = join(layout, 'layer.tar');
    await run('tar', ['--owner=0', '--group=0', '--numeric-owner', '-C', folder, '-cf', packed, '.']);
    const layer = await put('layer.v1.tar', packed);
    const config = await putJson('config.v1+json', {
      ...platform,
      config: { Entrypoint: entrypoint, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    });
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = await putJson('manifest.v1+json', { schemaVersion: 2, mediaType, config, layers: [layer] });
    const annotations = { 'io.containerd.image.name': name };
    const manifests = [{ ...manifest, platform, annotations }];
    const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests };
    await writeFile(join(layout, 'index.json'), JSON.stringify(index));
    await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    await run('tar', ['-C', layout, '-cf', archive, 'oci-layout', 'index.json', 'blobs']);
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
}
