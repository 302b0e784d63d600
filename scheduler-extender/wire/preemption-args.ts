import { NabuError } from '../../common/errors/index.ts';
import { parsedSlice, readBody } from './extender-args.ts';
import { equalsText, isNull, skipValue } from './json-bytes.ts';

/** The pods that would go from one node: their ids, and how many disruption budgets that would break. */
export type NodeVictims = {
  readonly node: string;
  readonly podUids: readonly string[];
  /** As the scheduler counted it; sent back as it came. */
  readonly pdbViolations: number;
};

/** kube-scheduler extender/v1 ExtenderPreemptionArgs, whichever of its two maps was sent. */
export type PreemptionArgs = { readonly pod: unknown; readonly victims: readonly NodeVictims[] };

const MAX_VICTIMS = 200_000;

function invalid(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field, reason });
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/** A MetaPod says `UID`; a whole pod says it in its metadata. */
function uidOf(pod: unknown, field: string): string {
  const uid = member(pod, 'UID') ?? member(member(pod, 'metadata'), 'uid');
  if (typeof uid === 'string' && uid !== '') return uid;
  throw invalid(field, 'names a pod without a UID');
}

function victimsOf(map: unknown, field: string): NodeVictims[] {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw invalid(field, 'is no map of nodes');
  let count = 0;
  return Object.entries(map).map(([node, victims]: [string, unknown]) => {
    const pods = member(victims, 'Pods') ?? [];
    if (!Array.isArray(pods)) throw invalid(field, `has victims of ${node.slice(0, 63)} that are no list`);
    count += pods.length;
    if (count > MAX_VICTIMS) throw invalid(field, `names more than ${MAX_VICTIMS} pods`);
    const violations = member(victims, 'NumPDBViolations') ?? 0;
    if (typeof violations !== 'number') throw invalid(field, 'has NumPDBViolations that are no number');
    return { node, podUids: pods.map((pod) => uidOf(pod, field)), pdbViolations: violations };
  });
}

/**
 * The body of a preempt call. The scheduler fills one of the maps, by whether the extender is nodeCacheCapable; where both are
 * there the one of ids is read. Throws INVALID_ARGUMENT that names the field.
 */
export function parsePreemptionArgs(body: Uint8Array): PreemptionArgs {
  let pod: unknown;
  let meta: unknown;
  let full: unknown;
  readBody(body, ({ keyFrom, keyTo, valueFrom }) => {
    const end = skipValue(body, valueFrom);
    if (isNull(body, valueFrom)) return end;
    if (equalsText(body, keyFrom, keyTo, 'Pod')) pod = parsedSlice(body, valueFrom, end);
    else if (equalsText(body, keyFrom, keyTo, 'NodeNameToMetaVictims')) meta = parsedSlice(body, valueFrom, end);
    else if (equalsText(body, keyFrom, keyTo, 'NodeNameToVictims')) full = parsedSlice(body, valueFrom, end);
    return end;
  });
  if (meta !== undefined) return { pod, victims: victimsOf(meta, 'NodeNameToMetaVictims') };
  if (full !== undefined) return { pod, victims: victimsOf(full, 'NodeNameToVictims') };
  throw invalid('NodeNameToMetaVictims', 'and NodeNameToVictims are both missing');
}

/** kube-scheduler extender/v1 ExtenderPreemptionResult. The scheduler refuses a node without victims, so there is none. */
export function preemptionResult(victims: readonly NodeVictims[]): string {
  const map = victims
    .filter(({ podUids }) => podUids.length > 0)
    .map(({ node, podUids, pdbViolations }) => [
      node,
      { Pods: podUids.map((uid) => ({ UID: uid })), NumPDBViolations: pdbViolations },
    ]);
  return JSON.stringify({ NodeNameToMetaVictims: Object.fromEntries(map) });
}
