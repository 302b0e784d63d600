import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { DiscoveryRoots, TreeEntry } from '../../device-plugin/discovery/index.ts';
import type { MachineDescription } from './machine-description.ts';
import { layOut } from './machine-layout.ts';

/** A recorded device file is a file: making real ones takes privileges that a test need not have. */
export const isMarker = ({ kind }: TreeEntry): boolean => kind === 'file';

/** Thousands of tiny files and links: forty times faster to make in memory than on a disk. */
const IN_MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A machine's /sys, /dev and /proc in a temporary folder: real directories, files and links. */
export class MachineTree implements Disposable {
  readonly root = mkdtempSync(join(IN_MEMORY, 'nabu-machine-'));

  constructor(description?: MachineDescription) {
    for (const folder of ['sys', 'dev', 'proc']) mkdirSync(join(this.root, folder));
    if (description !== undefined) layOut(description, this);
  }

  get roots(): DiscoveryRoots {
    return { sysfsRoot: this.at('sys'), devRoot: this.at('dev'), procRoot: this.at('proc') };
  }

  at(path: string): string {
    return join(this.root, path);
  }

  /** A file of one line, as almost all of sysfs is; bytes are written as they are. */
  file(path: string, content: string | number | Buffer): void {
    this.folder(dirname(path));
    writeFileSync(this.at(path), Buffer.isBuffer(content) ? content : `${content}\n`);
  }

  files(folder: string, contents: Readonly<Record<string, string | number>>): void {
    for (const [name, content] of Object.entries(contents)) this.file(join(folder, name), content);
  }

  folder(path: string): void {
    if (!this.has(path)) mkdirSync(this.at(path), { recursive: true });
  }

  /** Whether something is at a path, links followed. */
  has(path: string): boolean {
    return existsSync(this.at(path));
  }

  /** A relative link, as those of sysfs are. */
  link(path: string, target: string): void {
    this.folder(dirname(path));
    symlinkSync(relative(dirname(path), target), this.at(path));
  }

  remove(path: string): void {
    rmSync(this.at(path), { recursive: true, force: true });
  }

  /** A class device with its device file: uevent and dev at `path` in sysfs, a marker below /dev. */
  device(path: string, name: string, major: number, minor: number): void {
    this.files(path, { uevent: `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=${name}`, dev: `${major}:${minor}` });
    this.file(`dev/${name}`, `c ${major} ${minor}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
