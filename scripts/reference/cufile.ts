import { z } from 'zod';
import {
  CUFILE_KEYS,
  CUFILE_VERSIONS,
  cufileSettingsSchema,
  valueText,
  versionsText,
} from '../../device-plugin/index.ts';

const settingsShape = z.object({
  properties: z.record(
    z.string(),
    z.object({
      type: z.string().optional(),
      enum: z.array(z.string()).optional(),
      default: z.unknown().optional(),
      description: z.string(),
    }),
  ),
});

function settingRows(): string[] {
  const json = z.toJSONSchema(cufileSettingsSchema, { io: 'input', unrepresentable: 'any' });
  return Object.entries(settingsShape.parse(json).properties).map(([name, setting]) => {
    const takes = setting.enum?.join(', ') ?? setting.type ?? 'value';
    const fallback = setting.default === undefined ? 'none' : `\`${JSON.stringify(setting.default)}\``;
    return `| \`${name}\` | ${takes} | ${fallback} | ${setting.description} |`;
  });
}

/** docs/reference/cufile.md, whole. */
export function cufileReference(): string {
  const rows = CUFILE_KEYS.map((key) => {
    const cells = [
      `\`${key.path}\``,
      versionsText(key),
      valueText(key.value),
      key.fallback,
      key.ours ?? 'left to cuFile',
      key.meaning,
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return `# cufile.json

Generated from the table of keys in \`device-plugin/cufile/\` by \`node scripts/cufile-reference.ts\`; a test compares the two.

Every container with a cuFile resource gets a \`cufile.json\` of its own, made for its HCAs and GPUs and found by
\`CUFILE_ENV_PATH_JSON\`. These are the keys that it may hold, for cuFile ${CUFILE_VERSIONS[0]} to ${CUFILE_VERSIONS.at(-1)}.
cuFile ignores a key that it does not know, so a slip of the pen has no effect and says nothing: an override here is
refused by name instead when its key is not in this table, is not known to the release in the container, is out of range,
contradicts another key, or asks for an address or a mode that the container was not given.

Keys that cuFile has but does not document are not here and are refused like any other unknown name. 1.13 is the first
release that we claim, so "from 1.13" says nothing about those before it. Names and defaults are those of NVIDIA's
GPUDirect Storage configuration guide and release notes; which release reads a key, and the ranges, were taken from the
libraries of 1.13 to 1.20 themselves, which name the range when they refuse a file. Where a library takes any text
(\`io_priority\`, \`rdma_load_balancing_policy\`, \`level\`) the documented choices are the range.

## Settings of the resource

| setting | takes | default | meaning |
|---|---|---|---|
${settingRows().join('\n')}

## Keys

| key | cuFile | takes | default | what we write, and why | meaning |
|---|---|---|---|---|---|
${rows.join('\n')}

## Keys that must agree

- \`gpu_bounce_buffer_slab_config\` excludes \`max_device_cache_size_kb\`, \`per_buffer_cache_size_kb\` and
  \`max_direct_io_size_kb\`. An override of one of these three makes us write all three, and no slabs.
- \`per_buffer_cache_size_kb\` is at most \`max_direct_io_size_kb\`; \`max_device_cache_size_kb\` is at most
  \`max_device_pinned_mem_size_kb\` and holds \`io_batchsize\` buffers: where it does not, cuFile would take other sizes
  than the file says.
- Lists of sizes and lists of counts have the same length. In nvidia-fs mode at least one slab has at most 16384 KiB.
- A file system has a \`rdma_dev_addr_list\` or a \`mount_table\`, not both.
- \`rdma_dynamic_routing\` needs addresses.
`;
}
