import { NO_SLOT, type NodeTable } from '../cluster/index.ts';
import { type Candidates, candidateName, REPEATED } from '../wire/index.ts';

const BACKSLASH = 0x5c;

/** Which nodes the candidates of a request are; buffers that are used again, as requests are answered one at a time. */
export class CandidateSlots {
  /** Of candidate i: its slot, NO_SLOT for a node that is not there, REPEATED where an earlier candidate is the same node. */
  slots = new Int32Array(1024);
  #seen = new Int32Array(1024);
  /** Which slot followed which in the last list. */
  #after = new Int32Array(1024).fill(NO_SLOT);
  #first = NO_SLOT;
  #round = 0;
  /** What `slots` holds for: a list, and a state of the table. */
  #list: number | undefined;
  #version = 0;

  find(candidates: Candidates, nodes: NodeTable): Int32Array {
    const { count, body, nameFrom, nameTo } = candidates;
    if (candidates.list === this.#list && nodes.version === this.#version) return this.slots;
    if (this.slots.length < count) this.slots = new Int32Array(count * 2);
    if (this.#seen.length < nodes.names.limit) {
      this.#seen = new Int32Array(nodes.names.limit * 2);
      this.#after = new Int32Array(nodes.names.limit * 2).fill(NO_SLOT);
    }
    this.#round = this.#round === 0x7fffffff ? this.#restarted() : this.#round + 1;
    const slots = this.slots;
    const seen = this.#seen;
    const after = this.#after;
    const round = this.#round;
    const { present } = nodes;
    const strangers = new Set<string>();
    let before = NO_SLOT;
    for (let at = 0; at < count; at++) {
      const hint = before === NO_SLOT ? this.#first : (after[before] ?? NO_SLOT);
      let slot = nodes.names.findBytes(body, nameFrom[at] ?? 0, nameTo[at] ?? 0, hint);
      if (slot === NO_SLOT) slot = this.#stranger(candidates, at, nodes, strangers);
      if (slot >= 0) {
        if (before === NO_SLOT) this.#first = slot;
        else after[before] = slot;
        before = slot;
        if (seen[slot] === round) slot = REPEATED;
        else {
          seen[slot] = round;
          if (present[slot] !== 1) slot = NO_SLOT;
        }
      }
      slots[at] = slot;
    }
    this.#list = candidates.form === 'names' ? candidates.list : undefined;
    this.#version = nodes.version;
    return slots;
  }

  /** A name that is not known as it is written: with escapes, twice, or not at all. */
  #stranger(candidates: Candidates, at: number, nodes: NodeTable, strangers: Set<string>): number {
    const name = candidateName(candidates, at);
    const from = candidates.nameFrom[at] ?? 0;
    const isEscaped = candidates.body.subarray(from, candidates.nameTo[at]).includes(BACKSLASH);
    const slot = isEscaped ? nodes.names.find(name) : NO_SLOT;
    if (slot !== NO_SLOT) return slot;
    if (strangers.has(name)) return REPEATED;
    strangers.add(name);
    return NO_SLOT;
  }

  #restarted(): number {
    this.#seen.fill(0);
    return 1;
  }
}
