// proto/**/*.proto -> proto/gen/: messages.js (protobufjs static code), services.js (what calls exist, as values) and their types.
// kubelet.js has the services that kubelets speak, alone: a process on every node holds no code of messages that it never sees.
// nri.js has those that container runtimes speak; they are in no other file.
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

/** Folders of proto/. */
const KUBELET = ['deviceplugin', 'dra', 'pluginregistration', 'podresources'];
const NRI = ['nri', 'ttrpc'];

const files = protoFiles(values.proto);
const folderOf = (path: string): string => relative(values.proto, path).split('/')[0] ?? '';
const isNri = (path: string): boolean => NRI.includes(folderOf(path));
mkdirSync(values.out, { recursive: true });

const lean = ['--no-verify', '--no-delimited', '--no-typeurl', '--no-comments', '--no-service'];
const namespaceOf = async (paths: readonly string[]): Promise<Namespace> =>
  JSON.parse(await pbjsRun(['-t', 'json', '-p', values.proto, ...paths]));
const codeOf = (root: string, paths: readonly string[]): Promise<string> =>
  pbjsRun(['-t', 'static-module', '-w', 'esm', '-r', root, ...lean, '-p', values.proto, ...paths]);

writeGenerated('messages.d.ts', emitTypes(await namespaceOf(files)));

const nriFiles = files.filter(isNri);
const nri = emitServices(await namespaceOf(nriFiles), './nri-messages.js');
writeGenerated('nri-messages.js', await codeOf('nri', nriFiles));
writeGenerated('nri.js', nri.code);
writeGenerated('nri.d.ts', nri.types);

const kubeletFiles = files.filter((path) => KUBELET.includes(folderOf(path)));
const kubelet = emitServices(await namespaceOf(kubeletFiles), './kubelet-messages.js');
const names = kubelet.names.map((name) => `'${name}'`).join(' | ');
writeGenerated('kubelet-messages.js', await codeOf('kubelet', kubeletFiles));
writeGenerated('kubelet.js', kubelet.code);
writeGenerated(
  'kubelet.d.ts',
  `import type { services as all } from './services.js';\nexport declare const services: Pick<typeof all, ${names}>;\n`,
);

const others = files.filter((path) => !isNri(path));
const services = emitServices(await namespaceOf(others));
writeGenerated('messages.js', await codeOf('default', others));
writeGenerated('services.d.ts', services.types);
writeGenerated('services.js', services.code); // last: set-up takes its time as the time of all
