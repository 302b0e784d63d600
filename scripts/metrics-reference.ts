// Writes docs/reference/device-plugin-metrics.md from device-plugin/metrics/. usage: metrics-reference.ts [FILE]
import { writeFileSync } from 'node:fs';
import { metricsReference } from './reference/metrics.ts';

writeFileSync(process.argv[2] ?? 'docs/reference/device-plugin-metrics.md', metricsReference());
