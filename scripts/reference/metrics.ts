import { silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { CAUSE_CODES, DevicePluginMetrics } from '../../device-plugin/index.ts';

const SOURCES = {
  pools: () => [],
  isRegistered: () => false,
  hugePages: () => [],
  allocations: { allocations: async () => [] },
};

/** docs/reference/device-plugin-metrics.md, whole. */
export function metricsReference(): string {
  const metrics = new DevicePluginMetrics({ version: '', sources: SOURCES, clock: realClock, logger: silentLogger });
  const rows = metrics.described.map(({ name, type, labels, help }) => {
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`;
  });
  return `# Figures of the device plugin

Generated from \`device-plugin/metrics/\` by \`node scripts/metrics-reference.ts\`; a test compares the two. \`--metrics ADDRESS\` serves them at
\`/metrics\` in Prometheus' text format, beside \`/healthz\` and \`/readyz\` (ready: the kubelet holds the list of every resource).

States and pages are looked up when somebody asks. Values of labels are from closed lists or bounded: at most 64 resources, at most 1,000 rows of
\`nabustore_device_plugin_allocations\`. The pod-resources API is asked at most every 5 s and keeps no scrape for more than 0.5 s; what it said last
is told for five minutes, with its age.

| name | type | labels | what |
|---|---|---|---|
${rows.join('\n')}

\`cause\` of a health change: ${CAUSE_CODES.map((code) => `\`${code}\``).join(', ')}, or \`recovered\`.
`;
}
