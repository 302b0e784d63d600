import { z } from 'zod';
import { table } from './output.ts';
import { formatBytes } from './quantity.ts';

const load = z.object({ bytes: z.number(), seconds: z.number() });

/** What `?explain` of an extender answers, as much of it as is shown. */
export const explanationSchema = z.object({
  pod: z.object({ namespace: z.string(), name: z.string() }),
  locality: z.string(),
  reads: z.array(z.object({ what: z.string(), bytes: z.number() })),
  newVolumes: z.array(z.object({ claim: z.string(), class: z.string(), policy: z.string(), sizeBytes: z.number() })),
  stale: z.string(),
  nodes: z.array(
    z.object({
      node: z.string(),
      place: z.string(),
      score: z.number(),
      refused: z.object({ reason: z.string(), resolvable: z.boolean() }).optional(),
      time: z
        .object({
          seconds: z.number(),
          firstByteS: z.number(),
          linkSlowdown: z.number(),
          load: z.record(z.string(), load),
        })
        .optional(),
    }),
  ),
});
export type PlacementExplanation = z.output<typeof explanationSchema>;
type NodeEntry = PlacementExplanation['nodes'][number];

const NAMES_SHOWN = 3;

const duration = (seconds: number): string =>
  seconds >= 1 ? `${seconds.toFixed(1)} s` : `${(seconds * 1000).toFixed(seconds >= 0.01 ? 0 : 2)} ms`;

function fromWhere({ time }: NodeEntry): string {
  const parts = Object.entries(time?.load ?? {}).filter(([, { bytes }]) => bytes > 0);
  const said = parts.map(([distance, { bytes, seconds }]) => `${formatBytes(bytes)} ${distance} ${duration(seconds)}`);
  const slowdown = time?.linkSlowdown ?? 1;
  return [...said, ...(slowdown > 1.005 ? [`link x${slowdown.toFixed(2)}`] : [])].join(', ') || 'nothing to load';
}

function refusals(nodes: readonly NodeEntry[]): string[] {
  const byReason = new Map<string, string[]>();
  for (const { node, refused } of nodes) {
    if (refused === undefined) continue;
    const reason = `${refused.reason}${refused.resolvable ? ' (preemption could help)' : ''}`;
    const names = byReason.get(reason);
    if (names === undefined) byReason.set(reason, [node]);
    else names.push(node);
  }
  return [...byReason]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([reason, names]) => {
      const more = names.length > NAMES_SHOWN ? ` and ${names.length - NAMES_SHOWN} more` : '';
      return `  ${names.length} refused: ${reason}\n    ${names.slice(0, NAMES_SHOWN).join(', ')}${more}`;
    });
}

/** The text of `nabu explain pod`: what the pod needs, the best nodes with where its bytes come from, and each reason of a refusal. */
export function describeExplanation(explanation: PlacementExplanation, best: number): string {
  const { pod, locality, reads, newVolumes, nodes, stale } = explanation;
  const passed = nodes.filter(({ refused }) => refused === undefined);
  const needs = [
    ...reads.map(({ what, bytes }) => `  reads ${formatBytes(bytes)} of ${what}`),
    ...newVolumes.map(({ claim, class: name, policy, sizeBytes }) => {
      return `  makes ${formatBytes(sizeBytes)} for ${claim}, class ${name}, ${policy}`;
    }),
  ];
  const rows = passed.slice(0, best).map((entry) => {
    const seconds = entry.time === undefined ? '-' : duration(entry.time.seconds);
    return [entry.node, entry.place || '-', String(entry.score), seconds, fromWhere(entry)];
  });
  return [
    `pod ${pod.namespace}/${pod.name}, locality ${locality}: ${passed.length} of ${nodes.length} nodes can take it${stale}`,
    ...(needs.length === 0 ? ['  it has nothing of NabuStore'] : needs),
    ...(rows.length === 0 ? [] : ['', table(['NODE', 'PLACE', 'SCORE', 'LOADED IN', 'FROM'], rows)]),
    ...(passed.length === nodes.length ? [] : ['', ...refusals(nodes)]),
  ].join('\n');
}
