import { createHash } from 'node:crypto';
import { type TarEntry, tar } from './tar.ts';

export type ImageOptions = {
  readonly name: string;
  readonly files: readonly TarEntry[];
  readonly entrypoint: readonly string[];
};

type Blob = { readonly mediaType: string; readonly content: Buffer };
type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const hex = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const describe = ({ mediaType, content }: Blob): Descriptor => ({
  mediaType,
  digest: `sha256:${hex(content)}`,
  size: content.length,
});

/** An image of one layer as an OCI image layout (image-spec 1.1, image-layout.md) in one archive, as containerd imports it. */
export function ociImage({ name, files, entrypoint }: ImageOptions): Buffer {
  const platform = { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch };
  const layer: Blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar', content: tar(files) };
  const config: Blob = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    content: json({
      ...platform,
      config: { Entrypoint: entrypoint, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [describe(layer).digest] },
    }),
  };
  const manifest: Blob = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    content: json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: describe(config),
      layers: [describe(layer)],
    }),
  };
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ ...describe(manifest), platform, annotations: { 'io.containerd.image.name': name } }],
  };
  return tar([
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: json(index) },
    ...[layer, config, manifest].map(({ content }) => ({ name: `blobs/sha256/${hex(content)}`, content })),
  ]);
}
