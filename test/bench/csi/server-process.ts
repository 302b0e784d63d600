import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A child that says `ready` on its standard output, or is ready when its socket answers. Killed by `kill`. */
export class ServerProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(
    program: string,
    args: readonly string[],
    options: { readonly saysReady: boolean },
  ): Promise<ServerProcess> {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    if (options.saysReady) await once(child.stdout, 'data');
    child.stdout.resume();
    return new ServerProcess(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
