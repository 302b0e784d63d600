import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { logKey, type NodeId, ZERO_WRITER_EPOCH } from '../blob/index.ts';
import type { BlobStore } from '../client/index.ts';
import { askStampFor } from './ask-stamp.ts';
import type { HomeFence } from './home-fence.ts';
import type { VolumeSpec } from './home-nodes.ts';
import { compareNotes, type OwnerNote } from './owner-note.ts';

const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 1000;

type NoteSearch = { readonly blobs: BlobStore; readonly clock: Clock; readonly spec: VolumeSpec };

function newestOf(fence: HomeFence): OwnerNote | undefined {
  let newest: OwnerNote | undefined;
  for (const note of fence.notes.values()) {
    if (note !== undefined && (newest === undefined || compareNotes(note, newest) > 0)) newest = note;
  }
  return newest;
}

/**
 * The nodes that would know of a note newer than this stamp, had they been given one: a device that was emptied since may have
 * forgotten it. Asked as a look-up of a key that never exists: only a store complete since the stamp may say "absent".
 */
async function knowingNodes(
  search: NoteSearch,
  fence: HomeFence,
  since: bigint,
  deadline: Deadline,
): Promise<Set<NodeId>> {
  const answers = await search.blobs.probe({
    key: logKey(search.spec.id, ZERO_WRITER_EPOCH, 0n),
    nodes: fence.confirmed,
    askStamp: askStampFor(since),
    deadline,
  });
  return new Set([...answers].filter(([, answer]) => answer.state === 'absent').map(([node]) => node));
}

/**
 * The newest note that anybody relied on; undefined when it is proven that there never was one. The fence must be established: then notes
 * do not change any more. VOLUME_OPEN_BLOCKED names the nodes whose word is missing at the deadline.
 */
export async function findNewestNote(
  search: NoteSearch,
  fence: HomeFence,
  deadline: Deadline,
): Promise<OwnerNote | undefined> {
  const { spec, clock } = search;
  let knowing = new Set<NodeId>();
  try {
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      const newest = newestOf(fence);
      knowing = await knowingNodes(search, fence, newest?.stamp ?? spec.createdStamp, deadline);
      if (fence.fencedBy !== undefined) throw fence.fencedBy;
      if (knowing.size >= fence.quorum.noteRead) return newest;
      await clock.sleep(delayMs, deadline.signal);
    }
  } catch (err) {
    if (!deadline.expired || NabuError.is(err, 'FENCED')) throw err;
    const nodes = spec.homeSet.filter((node) => !knowing.has(node));
    throw NabuError.of('VOLUME_OPEN_BLOCKED', { volumeId: spec.id, nodes }, { cause: err });
  }
}
