import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../../common/errors/index.ts';
import type { Unsubscribe } from '../../kubelet/index.ts';
import type { KernelEvent, KernelEvents } from '../kernel-events.ts';

/** What was heard since it was opened. */
export type NetlinkCounts = {
  readonly events: number;
  /** Not sent by the kernel to its group, and dropped. */
  readonly foreign: number;
  /** Sent by the kernel, and not of a form that is known: told as an overflow. */
  readonly malformed: number;
  readonly overflows: number;
};

type NativeListener = { counts(): NetlinkCounts; close(): void };
type NetlinkAddon = { Listener: new (onEvents: (events: readonly KernelEvent[]) => void) => NativeListener };

const ADDON_PATH = '../../../build/native/netlink/netlink.node';
let addon: NetlinkAddon | undefined;

function load(): NetlinkAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as NetlinkAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/netlink/netlink.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'kernel events', driver: 'netlink', reason }, { cause });
  }
}

/** NETLINK_KOBJECT_UEVENT and RTNLGRP_LINK of the network namespace that this process is in. Needs no privilege. */
export class NetlinkEvents implements KernelEvents {
  readonly #listeners = new Set<(events: readonly KernelEvent[]) => void>();
  readonly #native: NativeListener;

  /** Throws UNAVAILABLE when the kernel refuses the sockets, DRIVER_UNAVAILABLE when the addon is not built. */
  constructor() {
    const { Listener } = load();
    try {
      this.#native = new Listener((events) => {
        for (const listener of [...this.#listeners]) listener(events);
      });
    } catch (err) {
      throw fromNative(err);
    }
  }

  get counts(): NetlinkCounts {
    return this.#native.counts();
  }

  listen(listener: (events: readonly KernelEvent[]) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#native.close();
    this.#listeners.clear();
  }
}
