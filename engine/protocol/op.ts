/** What a request asks for. Numbers are part of the protocol and never used again for something else. */
export const OP = {
  hello: 1,
  putShard: 2,
  readShard: 3,
  lookup: 4,
  delete: 5,
  deleteOwnerRange: 6,
  setOwner: 7,
  getOwner: 8,
  listOwners: 9,
  mapGet: 10,
  mapSet: 11,
  stats: 12,
  markDegraded: 13,
  ping: 14,
} as const;

export type OpName = keyof typeof OP;

const NAMES = new Map<number, OpName>(Object.entries(OP).map(([name, op]) => [op, name as OpName]));

/** For logs, metrics and errors. */
export function opName(op: number): OpName | `op ${number}` {
  return NAMES.get(op) ?? `op ${op}`;
}
