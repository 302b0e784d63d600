// https://kwok.sigs.k8s.io/docs/user/stages-configuration/

/** kwok plays the kubelet of nodes that have it. */
export const KWOK_ANNOTATION = 'kwok.x-k8s.io/node';

const stage = (kind: 'Pod' | 'Node', name: string, matchExpressions: readonly object[], next: object): object => ({
  apiVersion: 'kwok.x-k8s.io/v1alpha1',
  kind: 'Stage',
  metadata: { name },
  spec: { resourceRef: { apiGroup: 'v1', kind }, selector: { matchExpressions }, next },
});

const RUNNING = `
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
conditions:
{{ range $type := list "Initialized" "Ready" "ContainersReady" }}
- type: {{ $type | Quote }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
`;

/**
 * Pods that are bound run at once, and those that are deleted are gone. Nodes are made ready, and without leases and
 * heartbeats thousands of them cost nothing.
 */
export function kwokConfiguration(): string {
  const isDeleted = (operator: string): object => ({ key: '.metadata.deletionTimestamp', operator });
  const documents = [
    {
      apiVersion: 'config.kwok.x-k8s.io/v1alpha1',
      kind: 'KwokConfiguration',
      // What is left out here is 0 there.
      options: { podPlayStageParallelism: 8, nodePlayStageParallelism: 1, podsOnNodeSyncParallelism: 4 },
    },
    stage(
      'Pod',
      'pod-runs',
      [isDeleted('DoesNotExist'), { key: '.status.phase', operator: 'In', values: ['Pending'] }],
      {
        statusTemplate: RUNNING,
      },
    ),
    stage('Pod', 'pod-is-gone', [isDeleted('Exists')], { finalizers: { empty: true }, delete: true }),
    // Without any stage of theirs kwok looks after no node, nor after the pods on it.
    stage('Node', 'node-is-gone', [isDeleted('Exists')], { finalizers: { empty: true }, delete: true }),
  ];
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}
