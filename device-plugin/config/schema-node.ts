import { z } from 'zod';
import { pluginConfigSchema } from './plugin-config.ts';

const nodeSchema = z.object({
  type: z.string().optional(),
  const: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minItems: z.number().optional(),
  maxItems: z.number().optional(),
  default: z.unknown().optional(),
  description: z.string().optional(),
  get items() {
    return nodeSchema.optional();
  },
  get properties() {
    return z.record(z.string(), nodeSchema).optional();
  },
  required: z.array(z.string()).optional(),
  get oneOf() {
    return z.array(nodeSchema).optional();
  },
  additionalProperties: z.unknown().optional(),
});

/** What one place of the configuration may hold, as JSON Schema says it (draft 2020-12). */
export type SchemaNode = z.output<typeof nodeSchema>;

let whole: SchemaNode | undefined;

/** The schema of the file. Made at the first call: a plugin whose file is in order never needs it. */
export function configNode(): SchemaNode {
  whole ??= nodeSchema.parse(z.toJSONSchema(pluginConfigSchema, { io: 'input', unrepresentable: 'any' }));
  return whole;
}

/** The node at a path of a value; of the kinds of a resource the one that the value names. Undefined: no such place. */
export function nodeAt(path: readonly PropertyKey[], value: unknown): SchemaNode | undefined {
  let node: SchemaNode | undefined = chosen(configNode(), value);
  let at = value;
  for (const key of path) {
    at = typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined;
    node =
      node === undefined
        ? undefined
        : chosen(typeof key === 'number' ? node.items : node.properties?.[String(key)], at);
  }
  return node;
}

function chosen(node: SchemaNode | undefined, value: unknown): SchemaNode | undefined {
  if (node?.oneOf === undefined) return node;
  const kind: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'kind') : undefined;
  return node.oneOf.find(({ properties }) => properties?.kind?.const === kind) ?? node;
}

/** 'one of uverbs, rdma_cm', 'a whole number from 1 to 1000': for people who wrote something else. */
export function allowedText(node: SchemaNode): string {
  if (node.const !== undefined) return String(node.const);
  if (node.enum !== undefined) return `one of ${node.enum.join(', ')}`;
  if (node.oneOf !== undefined) {
    const kinds = node.oneOf.map(({ properties }) => properties?.kind?.const);
    return `a mapping with kind: one of ${kinds.join(', ')}`;
  }
  if (node.type === 'integer') return `a whole number${rangeText(node)}`;
  if (node.type === 'number') return `a number${rangeText(node)}`;
  if (node.type === 'array') return listText(node);
  if (node.type === 'boolean') return 'true or false';
  if (node.type === 'string') return 'text';
  return node.properties === undefined
    ? 'a mapping'
    : `a mapping with the keys ${Object.keys(node.properties).join(', ')}`;
}

function listText({ minItems, maxItems }: SchemaNode): string {
  const list = minItems === 1 ? 'a list that is not empty' : 'a list';
  return maxItems === undefined ? list : `${list}, of ${maxItems} at the most`;
}

function rangeText({ minimum, maximum }: SchemaNode): string {
  const limit = Number.MAX_SAFE_INTEGER;
  const from = minimum !== undefined && minimum > -limit ? ` from ${minimum}` : '';
  return maximum !== undefined && maximum < limit ? `${from} to ${maximum}` : `${from}${from === '' ? '' : ' on'}`;
}
