/**
 * Who may write a volume's log. The attach generation is raised by compare-and-swap in control, the server incarnation is
 * kept on the node that serves the volume and raised at every open, so that a server can restart while control is away.
 */
export type WriterEpoch = { readonly generation: bigint; readonly incarnation: bigint };

export const ZERO_WRITER_EPOCH: WriterEpoch = { generation: 0n, incarnation: 0n };

/** Lexicographic: below zero when `a` is older, above zero when it is newer. */
export function compareWriterEpochs(a: WriterEpoch, b: WriterEpoch): number {
  if (a.generation !== b.generation) return a.generation < b.generation ? -1 : 1;
  if (a.incarnation !== b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  return 0;
}

export function maxWriterEpoch(a: WriterEpoch, b: WriterEpoch): WriterEpoch {
  return compareWriterEpochs(a, b) >= 0 ? a : b;
}

/** For logs and errors: "3.17". */
export function formatWriterEpoch(epoch: WriterEpoch): string {
  return `${epoch.generation}.${epoch.incarnation}`;
}
