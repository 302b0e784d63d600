const STEPS = [
  ['Gi', 1 << 30],
  ['Mi', 1 << 20],
  ['Ki', 1 << 10],
] as const;

/** As Kubernetes names resources of huge pages, 'hugepages-2Mi': the largest binary unit that gives a whole number. */
export function pageSizeText(sizeBytes: number): string {
  const step = STEPS.find(([, bytes]) => sizeBytes >= bytes && sizeBytes % bytes === 0);
  return step === undefined ? String(sizeBytes) : `${sizeBytes / step[1]}${step[0]}`;
}
