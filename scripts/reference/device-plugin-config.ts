import { referenceRows } from '../../common/config/index.ts';
import {
  allowedText,
  configNode,
  DEVICE_PLUGIN_OPTIONS,
  parsePluginConfig,
  type SchemaNode,
} from '../../device-plugin/index.ts';

/** Everything that a node of eight GPUs may want; parsed before it is printed. */
export const EXAMPLE = `version: v1
resources:
  # nabustore.io/rdma: the InfiniBand HCAs, each for four containers at a time
  - kind: rdma
    slots: 4
    select: { vendors: ["15b3"], linkLayers: [InfiniBand] }
  # nabustore.io/rdma-storage: the ports of the DPU
  - kind: rdma
    name: storage
    select: { interfaces: ["ens202f*"] }
  # nabustore.io/cufile: a cufile.json for the container's HCAs and GPUs
  - kind: cufile
    version: "1.17"
    settings: { pollMode: true }
    overrides: { properties: { io_batchsize: 128 } }
  # nabustore.io/hugetlbfs-2Mi: a mount of at most 64 MiB a unit
  - kind: hugetlbfs
    pageSize: 2Mi
    unitBytes: 67108864
  # nabustore.io/nvme-vfio: the drives that are bound to vfio-pci
  - kind: nvme-vfio
`;

const RESOURCE: Readonly<Record<string, string>> = {
  rdma: 'HCAs, or slots of them',
  cufile: 'a `cufile.json` made for the container; slots of each NUMA node that has a GPU',
  gds: 'an HCA and cuFile for it as one unit',
  hugetlbfs: "a mount of hugetlbfs that holds so much; the pages are the kubelet's `hugepages-*`",
  'nvme-vfio': 'NVMe functions for drivers in user space, by IOMMU group',
};

const cell = (text: string): string => text.replaceAll('|', '\\|');

function typeText(node: SchemaNode): string {
  if (node.items?.oneOf !== undefined) return 'list of resources, see below';
  if (node.type === 'array' && node.items !== undefined)
    return `list of ${allowedText(node.items).replace(/^one of /, '')}`;
  return allowedText(node).replace(/^one of /, '');
}

function defaultText(node: SchemaNode, isRequired: boolean): string {
  if (isRequired) return 'must be given';
  return node.default === undefined ? 'none' : `\`${JSON.stringify(node.default)}\``;
}

/** One row per key; those of `select` by their full names. Keys with a page of their own are named only. */
function rowsOf({ properties = {}, required = [] }: SchemaNode, prefix = ''): string[] {
  return Object.entries(properties).flatMap(([name, node]) => {
    if (name === 'select') return rowsOf(node, 'select.');
    const type = name === 'settings' ? 'see [cufile.json](cufile.md)' : typeText(node);
    const isRequired = required.includes(name);
    const cells = [`\`${prefix}${name}\``, type, defaultText(node, isRequired), node.description ?? ''];
    return [`| ${cells.map(cell).join(' | ')} |`];
  });
}

function table(rows: readonly string[]): string {
  return ['| key | takes | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** docs/reference/device-plugin-config.md, whole. */
export function devicePluginConfigReference(): string {
  parsePluginConfig(EXAMPLE, 'the example');
  const { properties = {} } = configNode();
  const kinds = properties.resources?.items?.oneOf ?? [];
  const sections = kinds.map((node) => {
    const kind = String(node.properties?.kind?.const);
    const name = kind === 'hugetlbfs' ? 'nabustore.io/hugetlbfs-2Mi`, `-1Gi' : `nabustore.io/${kind}[-NAME]`;
    return `### ${kind}\n\n\`${name}\`: ${RESOURCE[kind]}.\n\n${table(rowsOf(node))}`;
  });
  const options = referenceRows(DEVICE_PLUGIN_OPTIONS).map(({ flag, env, type, fallback, description }) => {
    const cells = [`\`${flag}\``, `\`${env}\``, type, fallback === '' ? 'empty' : `\`${fallback}\``, description];
    return `| ${cells.map(cell).join(' | ')} |`;
  });
  return `# Configuration of the device plugin

Generated from the schema in \`device-plugin/config/\` by \`node scripts/device-plugin-config-reference.ts\`; a test compares the two.

\`nabu device-plugin --resources FILE\` reads one file, YAML 1.2 (or JSON, which is YAML) of at most 1 MiB, and follows it while it
runs. It is checked as a whole: a key that is not known, a value out of range, two resources of one name or a key of
\`cufile.json\` that cuFile does not have is refused with one sentence that names the key and says what is allowed. At the start
that ends the process; later the file before stays in force, the log and \`config_last_reload_successful\` say so.

A change takes nothing from pods: a resource that is as before is not touched, one that is made otherwise keeps its registration, one
that is gone from the file is withdrawn, and what running containers hold stays theirs. A device belongs to the first resource of the
file that selects it, whatever its mode.

\`\`\`yaml
${EXAMPLE}\`\`\`

## The file

${table(rowsOf({ properties: { version: properties.version ?? {}, resources: properties.resources ?? {} }, required: ['version', 'resources'] }))}

### health

${table(rowsOf(properties.health ?? {}))}

## Resources

${sections.join('\n\n')}

## What a container finds

| resource | device files | environment | mounts |
|---|---|---|---|
| \`rdma[-NAME]\` | those of \`deviceFiles\`, below /dev/infiniband, of its own HCAs alone | \`NABUSTORE_RDMA[_NAME]_DEVICES\` (\`mlx5_0,mlx5_1\`), \`NABUSTORE_RDMA[_NAME]_PCI_ADDRESSES\` in the same order | |
| \`cufile[-NAME]\` | /dev/nvidia-fs* where nvidia-fs is loaded | \`CUFILE_ENV_PATH_JSON\` | /etc/nabustore/cufile and /run/udev, read-only |
| \`gds[-NAME]\` | both | both, as \`NABUSTORE_GDS[_NAME]_*\` | as cufile |
| \`hugetlbfs-*\` | | | the mount |
| \`nvme-vfio[-NAME]\` | /dev/vfio/GROUP with /dev/vfio/vfio, /dev/vfio/devices/vfioN with /dev/iommu, or both, as the kernel has them | \`NABUSTORE_NVME_VFIO[_NAME]_PCI_ADDRESSES\` | |

In a name of a variable every character that is no letter or digit is \`_\`, and letters are capitals.

## Options of \`nabu device-plugin\`

| flag | variable | type | default | meaning |
|---|---|---|---|---|
${options.join('\n')}
`;
}
