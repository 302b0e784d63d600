/** A plain JSON object; arrays and null are values. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What lies at a path with dots; undefined where there is nothing. */
export function valueAt(tree: unknown, path: string): unknown {
  let node = tree;
  for (const name of path.split('.')) {
    if (!isObject(node) || !Object.hasOwn(node, name)) return undefined;
    node = node[name];
  }
  return node;
}

/**
 * The second over the first: objects key by key, everything else (lists too) whole. Keys keep the order of the first,
 * new ones follow in theirs. mergeTrees(mergeTrees(a, b), b) is mergeTrees(a, b).
 */
export function mergeTrees(
  below: Readonly<Record<string, unknown>>,
  above: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const merged = new Map(Object.entries(below));
  for (const [name, value] of Object.entries(above)) {
    const old = merged.get(name);
    merged.set(name, isObject(old) && isObject(value) ? mergeTrees(old, value) : value);
  }
  return Object.fromEntries(merged);
}

/**
 * Where an own key of the name `__proto__` lies, as JSON and YAML can have one; undefined: nowhere. Schemas of zod leave it
 * out of what they return, and tell of it only where all keys are known.
 */
export function protoPath(tree: unknown): readonly PropertyKey[] | undefined {
  if (typeof tree !== 'object' || tree === null) return undefined;
  for (const [name, value] of Object.entries(tree)) {
    if (name === '__proto__') return [name];
    const below = protoPath(value);
    if (below !== undefined) return [Array.isArray(tree) ? Number(name) : name, ...below];
  }
  return undefined;
}
