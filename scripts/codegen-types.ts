// The TypeScript types of our messages and services, from the JSON form that pbjs gives of a set of .proto files.

type Field = {
  readonly type: string;
  readonly id: number;
  readonly rule?: string;
  readonly keyType?: string;
  readonly options?: Readonly<Record<string, unknown>>;
};
type Method = {
  readonly requestType: string;
  readonly responseType: string;
  readonly requestStream?: boolean;
  readonly responseStream?: boolean;
};
export type Namespace = {
  readonly nested?: Readonly<Record<string, Namespace>>;
  readonly fields?: Readonly<Record<string, Field>>;
  readonly oneofs?: Readonly<Record<string, { readonly oneof: readonly string[] }>>;
  readonly values?: Readonly<Record<string, number>>;
  readonly methods?: Readonly<Record<string, Method>>;
};

const SCALARS: Readonly<Record<string, string>> = {
  double: 'number',
  float: 'number',
  int32: 'number',
  uint32: 'number',
  sint32: 'number',
  fixed32: 'number',
  sfixed32: 'number',
  int64: 'bigint',
  uint64: 'bigint',
  sint64: 'bigint',
  fixed64: 'bigint',
  sfixed64: 'bigint',
  bool: 'boolean',
  string: 'string',
  bytes: 'Uint8Array',
};

type Found = { readonly path: string; readonly node: Namespace };

function lookUp(root: Namespace, name: string): Namespace | undefined {
  let node: Namespace | undefined = root;
  for (const part of name.split('.')) node = node?.nested?.[part];
  return node;
}

/** Protobuf scoping: the name is searched from the innermost scope outwards; a leading dot makes it absolute. */
function resolve(root: Namespace, scope: string, name: string): Found {
  const bare = name.replace(/^\./, '');
  const scopes = name.startsWith('.') ? [] : scope.split('.');
  for (let length = scopes.length; length >= 0; length--) {
    const path = [...scopes.slice(0, length), bare].join('.');
    const node = lookUp(root, path);
    if (node?.fields !== undefined || node?.values !== undefined) return { path, node };
  }
  throw new Error(`codegen: ${name}, used in ${scope}, is defined nowhere`);
}

function fieldType(root: Namespace, scope: string, field: Field): string {
  const scalar = SCALARS[field.type];
  if (scalar !== undefined) return scalar;
  const found = resolve(root, scope, field.type);
  return found.node.values !== undefined ? 'number' : found.path;
}

function emitField(root: Namespace, scope: string, name: string, field: Field, absentAllowed: boolean): string {
  const type = fieldType(root, scope, field);
  if (field.keyType !== undefined) return `${name}: { [key: string]: ${type} };`;
  if (field.rule === 'repeated') return `${name}: ${type}[];`;
  if (absentAllowed) return `${name}?: ${type};`;
  const isMessage = SCALARS[field.type] === undefined && type !== 'number';
  return `${name}: ${type}${isMessage ? ' | null' : ''};`;
}

function emitMessage(root: Namespace, path: string, name: string, node: Namespace): string[] {
  const oneofs = Object.entries(node.oneofs ?? {});
  const members = new Set(oneofs.flatMap(([, group]) => group.oneof));
  const lines = Object.entries(node.fields ?? {}).map(
    ([field, spec]) => `  ${emitField(root, path, field, spec, members.has(field))}`,
  );
  // A oneof of one member named _x is how proto3 `optional x` is encoded; it needs no discriminator.
  for (const [group, { oneof }] of oneofs) {
    if (!group.startsWith('_')) lines.push(`  ${group}?: ${oneof.map((member) => `'${member}'`).join(' | ')};`);
  }
  return [`export type ${name} = {`, ...lines, '};'];
}

function emitScope(root: Namespace, path: string, node: Namespace): string[] {
  const out: string[] = [];
  for (const [name, child] of Object.entries(node.nested ?? {})) {
    const childPath = path === '' ? name : `${path}.${name}`;
    if (child.fields !== undefined) out.push(...emitMessage(root, childPath, name, child));
    if (child.values !== undefined) {
      const values = Object.entries(child.values).map(([key, value]) => `readonly ${key}: ${value};`);
      out.push(`export const ${name}: { ${values.join(' ')} };`);
    }
    const inner = child.methods === undefined ? emitScope(root, childPath, child) : [];
    if (inner.length > 0) out.push(`export namespace ${name} {`, ...inner.map((line) => `  ${line}`), '}');
  }
  return out;
}

export function emitTypes(root: Namespace): string {
  return `${emitScope(root, '', root).join('\n')}\n`;
}

function servicesOf(node: Namespace, path: string): Found[] {
  return Object.entries(node.nested ?? {}).flatMap(([name, child]) => {
    const childPath = path === '' ? name : `${path}.${name}`;
    return child.methods === undefined ? servicesOf(child, childPath) : [{ path: childPath, node: child }];
  });
}

/**
 * The values that common/grpc turns into definitions for grpc-js, and their types: one entry per service by full name.
 * `messages`: the module of the static code.
 */
export function emitServices(
  root: Namespace,
  messages = './messages.js',
): { code: string; types: string; names: string[] } {
  const code: string[] = [`import * as messages from '${messages}';`, 'export const services = {'];
  const names: string[] = [];
  const types: string[] = [
    `import type * as messages from './messages.js';`,
    'export type Call<Req, Res> = {',
    '  readonly path: string;',
    '  readonly request: Codec<Req>;',
    '  readonly response: Codec<Res>;',
    '};',
    '/** A protobufjs static class. */',
    'export type Codec<M> = {',
    '  decode(bytes: Uint8Array): object;',
    '  encode(message: object): { finish(): Uint8Array };',
    '  fromObject(plain: object): object;',
    '  toObject(message: object, options: object): object;',
    '  readonly __message?: M;',
    '};',
    "export type Unary<Req, Res> = Call<Req, Res> & { readonly kind: 'unary' };",
    "export type ServerStream<Req, Res> = Call<Req, Res> & { readonly kind: 'server-stream' };",
    "export type ClientStream<Req, Res> = Call<Req, Res> & { readonly kind: 'client-stream' };",
    "export type BidiStream<Req, Res> = Call<Req, Res> & { readonly kind: 'bidi-stream' };",
    'export declare const services: {',
  ];
  for (const { path, node } of servicesOf(root, '')) {
    names.push(path);
    code.push(`  '${path}': {`);
    types.push(`  readonly '${path}': {`);
    for (const [name, method] of Object.entries(node.methods ?? {})) {
      const request = resolve(root, path, method.requestType).path;
      const response = resolve(root, path, method.responseType).path;
      const kind = kindOf(method);
      const key = `${name.charAt(0).toLowerCase()}${name.slice(1)}`;
      code.push(
        `    ${key}: { kind: '${kind.value}', path: '/${path}/${name}', request: messages.${request}, response: messages.${response} },`,
      );
      types.push(`    readonly ${key}: ${kind.type}<messages.${request}, messages.${response}>;`);
    }
    code.push('  },');
    types.push('  };');
  }
  code.push('};', '');
  types.push('};', '');
  return { code: code.join('\n'), types: types.join('\n'), names };
}

function kindOf(method: Method): { value: string; type: string } {
  if (method.requestStream === true) {
    return method.responseStream === true
      ? { value: 'bidi-stream', type: 'BidiStream' }
      : { value: 'client-stream', type: 'ClientStream' };
  }
  return method.responseStream === true
    ? { value: 'server-stream', type: 'ServerStream' }
    : { value: 'unary', type: 'Unary' };
}
