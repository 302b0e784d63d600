import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const DOWN = fileURLToPath(new URL('../down.ts', import.meta.url));

/** Takes the cluster away when this process has died, however it did. */
export type Reaper = { dismiss(): Promise<void> };

/**
 * A shell that reads from a pipe of ours: a line says that all is well, the pipe's end without one that we are gone, and then
 * it becomes the command that cleans up. In a session of its own: what kills our process group does not reach it.
 */
export async function reapWhenOrphaned(): Promise<Reaper> {
  const script = 'read -r _ || exec "$@"';
  const child = spawn(
    '/bin/sh',
    ['-c', script, 'sh', process.execPath, '--disable-warning=ExperimentalWarning', DOWN],
    {
      detached: true,
      stdio: ['pipe', 'ignore', 'inherit'],
    },
  );
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  const { stdin } = child;
  if (stdin === null) throw new Error('a child without its pipe');
  child.unref();
  const handle = stdin as typeof stdin & { unref?: () => void };
  handle.unref?.();
  return { dismiss: () => dismiss(child) };
}

async function dismiss(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.ref();
  child.stdin?.end('well\n');
  await ended;
}
