import {
  decodeListOwners,
  decodeOwner,
  decodeOwnerRange,
  decodeSetOwner,
  encodeOwnerPage,
  encodeOwnerState,
} from '../protocol/index.ts';
import type { ShardStore } from '../store/index.ts';
import type { Answer, IncomingRequest } from '../transport/index.ts';

/** The requests about owners: fences and notes of volumes, and owner tombstones. */
export class OwnerService {
  readonly #store: ShardStore;

  constructor(store: ShardStore) {
    this.#store = store;
  }

  async set(request: IncomingRequest): Promise<Answer> {
    const { owner, update } = decodeSetOwner(request.meta);
    return { meta: encodeOwnerState(await this.#store.setOwner(owner, update)) };
  }

  get(request: IncomingRequest): Answer {
    return { meta: encodeOwnerState(this.#store.getOwner(decodeOwner(request.meta))) };
  }

  list(request: IncomingRequest): Answer {
    const { after, limit } = decodeListOwners(request.meta);
    const owners = this.#store.listOwners(after, limit);
    return { meta: encodeOwnerPage({ fencesComplete: this.#store.identity.fencesComplete, owners }) };
  }

  async deleteRange(request: IncomingRequest): Promise<Answer> {
    const { owner, range, stamp } = decodeOwnerRange(request.meta);
    await this.#store.deleteOwnerRange(owner, range, stamp);
    return {};
  }
}
