import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const TIMEOUT_MS = 60_000;
const OUTPUT_BYTES = 16 << 20;

export type RunOptions = { readonly input?: string; readonly timeoutMs?: number };

/** What a program writes to its output. Rejects with all that it said where it ends badly or takes too long. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const running = execute(program, [...args], {
    timeout: options.timeoutMs ?? TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: OUTPUT_BYTES,
    encoding: 'utf8',
  });
  const { stdin } = running.child;
  stdin?.on('error', () => undefined); // a child that reads no input closes the pipe: its status tells all
  stdin?.end(options.input);
  try {
    return (await running).stdout;
  } catch (err) {
    const [stdout, stderr] = ['stdout', 'stderr'].map((stream) => Reflect.get(Object(err), stream));
    throw new Error(`${program} ${args.join(' ')}: ${String(stdout)}${String(stderr)}`, { cause: err });
  }
}
