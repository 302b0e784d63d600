import { type ChildProcess, spawn } from 'node:child_process';

export type Ended = { readonly exitCode: number; readonly output: string; readonly timedOut: boolean };

const OUTPUT_LIMIT_CHARS = 1 << 20;
const children = new Set<ChildProcess>();

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (err) {
    if (Reflect.get(Object(err), 'code') !== 'ESRCH') throw err;
  }
}

export function killChildren(): void {
  for (const child of children) killGroup(child);
}

/** Runs a command in a process group of its own, showing its output as it comes; what is over time is killed with its children. */
export function runChild(command: readonly string[], env: NodeJS.ProcessEnv, timeoutMs: number): Promise<Ended> {
  const [file = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    children.add(child);
    let output = '';
    let timedOut = false;
    const take = (chunk: Buffer): void => {
      process.stdout.write(chunk);
      output = (output + chunk.toString()).slice(-OUTPUT_LIMIT_CHARS);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const timer = setTimeout(() => {
      timedOut = true;
      process.stdout.write(`run-tests: ${command.join(' ')} took longer than ${timeoutMs / 1000} s and is killed\n`);
      killGroup(child);
    }, timeoutMs);
    child.once('error', reject);
    // 'exit', not 'close': a daemon that a test left behind may hold the pipes open for ever.
    child.once('exit', (code) => {
      clearTimeout(timer);
      children.delete(child);
      killGroup(child);
      setImmediate(() => resolve({ exitCode: code ?? 1, output, timedOut }));
    });
  });
}
