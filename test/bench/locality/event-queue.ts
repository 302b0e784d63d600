type Event = { readonly atS: number; readonly order: number; readonly run: () => void };

function isBefore(a: Event, b: Event): boolean {
  return a.atS < b.atS || (a.atS === b.atS && a.order < b.order);
}

/** Simulated time: what is due runs in its order, equals in the order in which they came. */
export class EventQueue {
  nowS = 0;
  readonly #heap: Event[] = [];
  #order = 0;

  at(atS: number, run: () => void): void {
    const event: Event = { atS: Math.max(atS, this.nowS), order: this.#order++, run };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  /** Until `isDone` says so or nothing is left. */
  run(isDone: () => boolean): void {
    for (let next = this.#pop(); next !== undefined; next = this.#pop()) {
      this.nowS = next.atS;
      next.run();
      if (isDone()) return;
    }
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      const [left, right] = [heap[down], heap[down + 1]];
      if (left === undefined) break;
      let child = left;
      if (right !== undefined && isBefore(right, left)) {
        child = right;
        down++;
      }
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
    return first;
  }
}
