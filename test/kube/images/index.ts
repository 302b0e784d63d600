import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../host/run.ts';
import { ociImage } from './oci-image.ts';

export { type ImageOptions, ociImage } from './oci-image.ts';
export { type TarEntry, tar } from './tar.ts';

export const PAUSE_IMAGE = 'nabustore.test/pause:1';
/** A shell with its tools, and /bin/guest: see programs/guest. */
export const BUSYBOX_IMAGE = 'nabustore.test/busybox:1';
/** Debian's busybox-static. */
export const BUSYBOX = '/bin/busybox';

const PROGRAM_MODE = 0o755;
/** printenv(1) of one variable: Debian's busybox has none. */
const PRINTENV = '#!/bin/sh\nenv | sed -n "s/^$1=//p" | grep .\n';

/** Writes the archives of both images into `folder`; `programs` has pause and guest. */
export async function writeTestImages(folder: string, programs: string): Promise<string[]> {
  const [pause, guest, busybox, applets] = await Promise.all([
    readFile(join(programs, 'pause')),
    readFile(join(programs, 'guest')),
    readFile(BUSYBOX),
    run(BUSYBOX, ['--list']),
  ]);
  const program = (name: string, content: Buffer) => ({ name, content, mode: PROGRAM_MODE });
  const folders = ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev'].map((name) => ({
    name: `${name}/`,
    mode: name === 'tmp' ? 0o1777 : PROGRAM_MODE,
  }));
  const links = applets
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox' && name !== 'printenv')
    .map((name) => ({ name: `bin/${name}`, linkTo: 'busybox' }));
  const images = {
    pause: ociImage({ name: PAUSE_IMAGE, files: [program('pause', pause)], entrypoint: ['/pause'] }),
    busybox: ociImage({
      name: BUSYBOX_IMAGE,
      files: [
        ...folders,
        { name: 'etc/passwd', content: Buffer.from('root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n') },
        { name: 'etc/group', content: Buffer.from('root:x:0:\nuser:x:1000:\n') },
        program('bin/busybox', busybox),
        program('bin/guest', guest),
        program('bin/printenv', Buffer.from(PRINTENV)),
        ...links,
      ],
      entrypoint: ['/bin/sh'],
    }),
  };
  await mkdir(folder, { recursive: true });
  return await Promise.all(
    Object.entries(images).map(async ([name, content]) => {
      const path = join(folder, `${name}.tar`);
      await writeFile(path, content);
      return path;
    }),
  );
}
