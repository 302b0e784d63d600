import { execFile, spawn } from 'node:child_process';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type GoBuild, missingPrograms, moduleFolder } from './programs.ts';

const run = promisify(execFile);
const REPORT_MS = 15_000;
const OUTPUT_BYTES = 16 << 20;
const TAIL_LINES = 40;

export async function hasGo(): Promise<boolean> {
  return await run('go', ['version']).then(
    () => true,
    () => false,
  );
}

/** No C: the programs then run on any machine. Nothing may change go.mod or go.sum: they pin what is built. */
const goEnvironment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  CGO_ENABLED: '0',
  GOFLAGS: '-mod=readonly -buildvcs=false',
});

/**
 * Builds the programs of one module that are not in `folder` yet; one that is there is whole. An interrupted build goes on
 * where it was: Go keeps what it has compiled.
 */
export async function buildPrograms(build: GoBuild, folder: string, say: (line: string) => void): Promise<void> {
  const missing = await missingPrograms(build, folder);
  if (missing.length === 0) return;
  const startedMs = performance.now();
  say(`building ${build.what}: ${missing.join(', ')}`);
  const progress = new Progress(build.what, say);
  try {
    progress.total = await countPackages(build, missing, progress);
    for (const name of missing) {
      const unfinished = join(folder, `${name}.unfinished`);
      await compile(build, build.programs[name] ?? '', unfinished, progress);
      await rename(unfinished, join(folder, name));
    }
  } finally {
    progress.stop();
  }
  say(`built ${build.what} in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
}

/** Downloads what is missing and counts what there is to compile at most: for the progress alone. */
async function countPackages(build: GoBuild, programs: readonly string[], progress: Progress): Promise<number> {
  const tags = build.tags === undefined ? [] : ['-tags', build.tags];
  const packages = programs.map((name) => build.programs[name] ?? '');
  const listing = run('go', ['list', ...tags, '-deps', '-f', '{{.ImportPath}}', ...packages], {
    cwd: moduleFolder(build),
    env: goEnvironment(),
    maxBuffer: OUTPUT_BYTES,
  });
  listing.child.stderr?.on('data', (text) => progress.read(String(text)));
  return (await listing).stdout.trim().split('\n').length;
}

function compile(build: GoBuild, program: string, output: string, progress: Progress): Promise<void> {
  const ldflags = `-s -w ${build.ldflags ?? ''}`.trim();
  const args = ['build', '-v', '-trimpath', '-ldflags', ldflags, '-o', output];
  if (build.tags !== undefined) args.push('-tags', build.tags);
  return new Promise((resolve, reject) => {
    const go = spawn('nice', ['-n', '5', 'go', ...args, program], {
      cwd: moduleFolder(build),
      env: goEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    go.stderr.setEncoding('utf8').on('data', (text: string) => progress.read(text));
    go.once('error', reject);
    go.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`go build ${program} ended with ${code}:\n${progress.tail()}`));
    });
  });
}

/** Go names each module that it downloads, and with -v each package that it compiles; what it has already it does not name. */
class Progress {
  /** Of packages, as soon as it is known. */
  total: number | undefined;
  readonly #what: string;
  readonly #say: (line: string) => void;
  readonly #timer: NodeJS.Timeout;
  #downloaded = 0;
  #compiled = 0;
  #lines: string[] = [];

  constructor(what: string, say: (line: string) => void) {
    this.#what = what;
    this.#say = say;
    this.#timer = setInterval(() => this.#report(), REPORT_MS);
  }

  read(text: string): void {
    const lines = text.split('\n').filter((line) => line !== '');
    const downloads = lines.filter((line) => line.startsWith('go: downloading ')).length;
    this.#downloaded += downloads;
    this.#compiled += lines.length - downloads;
    this.#lines = [...this.#lines, ...lines].slice(-TAIL_LINES);
  }

  tail(): string {
    return this.#lines.join('\n');
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #report(): void {
    const compiled = this.total === undefined ? '' : `, ${this.#compiled} of at most ${this.total} packages compiled`;
    this.#say(`building ${this.#what}: ${this.#downloaded} modules downloaded${compiled}`);
  }
}
