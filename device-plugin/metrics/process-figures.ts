import { readdir } from 'node:fs/promises';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * What Prometheus asks of every process, read when it asks. prom-client's own set keeps a timer of 10 ms for the delay of the
 * event loop, which an idle plugin would pay for all day.
 */
export function addProcessFigures(registry: Registry): void {
  const registers = [registry];
  const startedS = Date.now() / 1000 - process.uptime();
  new Counter({
    registers,
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent in seconds.',
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    registers,
    name: 'process_resident_memory_bytes',
    help: 'Resident memory size in bytes.',
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    registers,
    name: 'process_open_fds',
    help: 'Number of open file descriptors.',
    async collect() {
      const open = await readdir('/proc/self/fd').catch(() => undefined); // no /proc: no figure
      if (open === undefined) this.remove();
      else this.set(open.length);
    },
  });
  new Gauge({
    registers,
    name: 'process_start_time_seconds',
    help: 'Start time of the process since unix epoch in seconds.',
  }).set(startedS);
}
