// proto/**/*.proto -> proto/gen/: messages.js (protobufjs static code), services.js (what calls exist, as values) and their types.
// kubelet.js has the services that kubelets speak, alone: a process on every node holds no code of messages that it never sees.
//
// The types are ours, not pbjs's: a decoded message is a plain object with every field present (proto3 defaults filled in),
// 64-bit integers are `bigint`, singular message fields are `T | null`, oneof members and `optional` fields may be absent.
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import * as pbjs from 'protobufjs-cli/pbjs.js';
import { emitServices, emitTypes, type Namespace } from './codegen-types.ts';

const { values } = parseArgs({
  options: { proto: { type: 'string', default: 'proto' }, out: { type: 'string', default: 'proto/gen' } },
});

function protoFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && file.name.endsWith('.proto'))
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => !relative(values.out, path).match(/^[^.]/))
    .sort();
}

function pbjsRun(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    pbjs.main([...args], (err: Error | null, output?: string) => {
      if (err !== null) reject(err);
      else resolve(output ?? '');
    });
  });
}

/** Written aside and renamed: a process that starts meanwhile never reads half a file. */
function writeGenerated(name: string, text: string): void {
  const path = join(values.out, name);
  writeFileSync(`${path}.tmp`, `// Generated from proto/ by scripts/codegen.ts.\n${text}`);
  renameSync(`${path}.tmp`, path);
}

const files = protoFiles(values.proto);
mkdirSync(values.out, { recursive: true });
const common = ['-p', values.proto, ...files];
const lean = ['--no-verify', '--no-delimited', '--no-typeurl', '--no-comments', '--no-service'];
const code = await pbjsRun(['-t', 'static-module', '-w', 'esm', ...lean, ...common]);
const root: unknown = JSON.parse(await pbjsRun(['-t', 'json', ...common]));

writeGenerated('messages.js', code);
const services = emitServices(root as Namespace);
writeGenerated('messages.d.ts', emitTypes(root as Namespace));
writeGenerated('services.d.ts', services.types);

/** Folders of proto/. */
const KUBELET = ['deviceplugin', 'dra', 'pluginregistration', 'podresources'];
const spoken = files.filter((path) => KUBELET.includes(relative(values.proto, path).split('/')[0] ?? ''));
const spokenRoot: unknown = JSON.parse(await pbjsRun(['-t', 'json', '-p', values.proto, ...spoken]));
const kubelet = emitServices(spokenRoot as Namespace, './kubelet-messages.js');
const names = kubelet.names.map((name) => `'${name}'`).join(' | ');
writeGenerated(
  'kubelet-messages.js',
  await pbjsRun(['-t', 'static-module', '-w', 'esm', '-r', 'kubelet', ...lean, '-p', values.proto, ...spoken]),
);
writeGenerated('kubelet.js', kubelet.code);
writeGenerated(
  'kubelet.d.ts',
  `import type { services as all } from './services.js';\nexport declare const services: Pick<typeof all, ${names}>;\n`,
);
writeGenerated('services.js', services.code); // last: set-up takes its time as the time of all
