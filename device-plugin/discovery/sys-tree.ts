import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { StuckReads } from './stuck-reads.ts';
import type { TreeEntry, TreeFiles } from './tree-files.ts';

/**
 * What a look into a tree gave: a value, or the reason why there is none. Missing is told apart: it is often normal. `code`
 * is that of the system call that failed, where one did.
 */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly isMissing: boolean; readonly code: string | null; readonly reason: string };

export type SysTreeOptions = {
  /** The folder on this machine: /sys, or where a container or a test sees it. */
  readonly root: string;
  /** The name that findings and device paths use: '/sys', '/dev' or '/proc'. */
  readonly name: string;
  readonly files: TreeFiles;
  readonly clock: Clock;
  readonly stuck: StuckReads;
  readonly signal: AbortSignal;
};

export const READ_LIMIT_BYTES = 64 * 1024;
const ENTRY_LIMIT = 16_384;
/** As many links as the kernel itself follows (MAXSYMLINKS, path_resolution(7)). */
const LINK_LIMIT = 40;
const READ_TIMEOUT_MS = 1000;
const READ_TIMEOUT_SLICES = 4;

type Failure = Extract<Outcome<never>, { readonly ok: false }>;

const fault = (reason: string, code: string | null = null): Failure => ({ ok: false, isMissing: false, code, reason });
const MISSING: Failure = { ok: false, isMissing: true, code: 'ENOENT', reason: 'is missing' };

const REASONS: Readonly<Record<string, string>> = {
  EISDIR: 'is a directory where a file is expected',
  ENOTDIR: 'is a file where a directory is expected',
  ELOOP: 'its links go in a circle',
  ENODEV: 'went away while it was read',
  ENXIO: 'went away while it was read',
};

function faultOf(err: unknown): Outcome<never> {
  const code = err instanceof Error && 'code' in err ? String(err.code) : undefined;
  if (code === undefined || NabuError.is(err)) throw err;
  return code === 'ENOENT' ? MISSING : fault(REASONS[code] ?? `cannot be read: ${code}`, code);
}

/**
 * A bounded reader of one tree of small files (sysfs, procfs, devtmpfs, or a recording of them). Paths are relative to its
 * root. Links are followed by this class and never out of the root. Nothing that lies in the tree makes it throw: only the
 * signal does. It remembers links, so it serves one discovery and is then thrown away.
 */
export class SysTree {
  readonly name: string;
  readonly #options: SysTreeOptions;
  /** Real path -> target of the link there, or null for what is no link. */
  readonly #links = new Map<string, string | null>();

  constructor(options: SysTreeOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** The path with every link followed, relative to the root. Whatever lies at its end exists. */
  async resolve(path: string): Promise<Outcome<string>> {
    const pending = path.split('/').reverse();
    let at = '';
    let followed = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (at === '') return fault('its links leave the tree');
        at = at.slice(0, Math.max(0, at.lastIndexOf('/')));
        continue;
      }
      const next = at === '' ? name : `${at}/${name}`;
      const target = await this.#linkAt(next);
      if (!target.ok) return target;
      if (target.value === null) {
        at = next;
        continue;
      }
      if (target.value.startsWith('/')) return fault('its links leave the tree');
      if (++followed > LINK_LIMIT) return fault('its links go in a circle');
      pending.push(...target.value.split('/').reverse());
    }
    return { ok: true, value: at };
  }

  /** The text of a file, at most `limitBytes` of it, without white space at its end. Binary content is a fault. */
  async text(path: string, limitBytes = READ_LIMIT_BYTES): Promise<Outcome<string>> {
    const bytes = await this.bytes(path, limitBytes);
    if (!bytes.ok) return bytes;
    const text = bytes.value.toString('utf8');
    // Everything below space but tab and newline; U+FFFD is what invalid UTF-8 decodes to.
    if (/[\x00-\x08\x0b-\x1f\x7f\ufffd]/.test(text)) return fault('holds binary data where text is expected');
    return { ok: true, value: text.trimEnd() };
  }

  /** Whether a file has the text somewhere in its first `limitBytes`. */
  async holds(path: string, text: string, limitBytes: number): Promise<Outcome<boolean>> {
    return await this.#content(path, (files, at) => files.holds(at, text, limitBytes));
  }

  async bytes(path: string, limitBytes: number): Promise<Outcome<Buffer>> {
    const bytes = await this.#content(path, (files, at) => files.bytes(at, limitBytes));
    if (bytes.ok && bytes.value.length > limitBytes) return fault(`has more than ${limitBytes} bytes`);
    return bytes;
  }

  /** The names in a directory, sorted. */
  async names(path: string): Promise<Outcome<readonly string[]>> {
    const real = await this.resolve(path);
    if (!real.ok) return real;
    const names = await this.#io(real.value, (files, at) => files.names(at, ENTRY_LIMIT));
    if (!names.ok) return names;
    if (names.value.length > ENTRY_LIMIT) return fault(`has more than ${ENTRY_LIMIT} entries`);
    return { ok: true, value: [...names.value].sort() };
  }

  async entry(path: string): Promise<Outcome<TreeEntry>> {
    const real = await this.resolve(path);
    return real.ok ? await this.#io(real.value, (files, at) => files.entry(at)) : real;
  }

  /** Files are hardly ever links: one is opened where it is named, and looked for elsewhere only if it is one (ELOOP). */
  async #content<T>(path: string, read: (files: TreeFiles, at: string) => Promise<T>): Promise<Outcome<T>> {
    const { name: tree, stuck } = this.#options;
    if (stuck.isWithheld(`${tree}/${path}`)) return fault('does not answer');
    const slash = path.lastIndexOf('/');
    const folder = await this.resolve(path.slice(0, Math.max(0, slash)));
    if (!folder.ok) return folder;
    const name = path.slice(slash + 1);
    const content = await this.#io(folder.value === '' ? name : `${folder.value}/${name}`, read, true);
    if (content.ok || content.code !== 'ELOOP') return content;
    const real = await this.resolve(path);
    return real.ok ? await this.#io(real.value, read, true) : real;
  }

  async #linkAt(real: string): Promise<Outcome<string | null>> {
    const known = this.#links.get(real);
    if (known !== undefined) return { ok: true, value: known };
    const target = await this.#io(real, (files, at) => files.link(at));
    if (target.ok) this.#links.set(real, target.value);
    return target;
  }

  /** One operation, bounded in time. One that does not return is left behind and remembered. Only content asks a driver. */
  async #io<T>(
    real: string,
    operation: (files: TreeFiles, at: string) => Promise<T>,
    asksDriver = false,
  ): Promise<Outcome<T>> {
    const { root, name, files, clock, stuck, signal } = this.#options;
    const label = `${name}/${real}`;
    const refusal = stuck.refusal(label, asksDriver);
    if (refusal !== undefined) return fault(refusal);
    const work = operation(files, `${root}/${real}`).then((value): Outcome<T> => ({ ok: true, value }), faultOf);
    const late = Promise.withResolvers<Outcome<T>>();
    // In slices: a process that is kept from running finds its timers due before the answers that have come meanwhile.
    let slices = 0;
    const wait = (): Timer =>
      clock.setTimer(() => {
        if (++slices < READ_TIMEOUT_SLICES) {
          timer = wait();
          return;
        }
        stuck.add(label, work);
        late.resolve(fault(`did not answer within ${READ_TIMEOUT_MS} ms`));
      }, READ_TIMEOUT_MS / READ_TIMEOUT_SLICES);
    let timer = wait();
    try {
      return await raceAbort(Promise.race([work, late.promise]), signal, 'device discovery');
    } finally {
      timer.cancel();
    }
  }
}
