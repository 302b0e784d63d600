import { ownerOf, type VolumeId, volumeOf } from '../blob/index.ts';
import type { OwnerRange, OwnerState, OwnerUpdate, SequenceRange } from '../store/index.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { malformed } from './malformed.ts';

// Messages about owners (volumes): fences, notes, owner tombstones. Layouts: docs/protocol.md.

export const MAX_NOTE_BYTES = 3072;
/** A page fits a frame's meta whatever the notes are: 256 * (16 + 44 + 3072) < 1 MiB. */
export const MAX_OWNERS_PER_PAGE = 256;
const MAX_PINS = 128;
const NO_BYTES = new Uint8Array(0);

export type OwnerPage = {
  /** Whether the answering node's own table is complete. */
  readonly fencesComplete: boolean;
  readonly owners: readonly (readonly [VolumeId, OwnerState])[];
};

export function encodeOwner(owner: VolumeId): Buffer {
  return new ByteWriter(16).bytes(ownerOf(owner), 16, 'owner').done();
}

export function decodeOwner(bytes: Uint8Array): VolumeId {
  const read = new ByteReader(bytes, 'owner request');
  const owner = volumeOf(read.bytes(16));
  read.end();
  return owner;
}

export function encodeSetOwner(owner: VolumeId, update: OwnerUpdate): Buffer {
  const note = update.note ?? NO_BYTES;
  return new ByteWriter(56 + note.length)
    .bytes(ownerOf(owner), 16, 'owner')
    .u64(update.fence.generation)
    .u64(update.fence.incarnation)
    .u64(update.homeSetVersion)
    .u64(update.noteVersion ?? 0n)
    .flag(update.note !== undefined)
    .flag(update.noteVersion !== undefined)
    .zeros(2)
    .u32(note.length)
    .bytes(note, note.length, 'note')
    .done();
}

export function decodeSetOwner(bytes: Uint8Array): { owner: VolumeId; update: OwnerUpdate } {
  const read = new ByteReader(bytes, 'owner update');
  const owner = volumeOf(read.bytes(16));
  const fence = { generation: read.u64(), incarnation: read.u64() };
  const homeSetVersion = read.u64();
  const noteVersion = read.u64();
  const hasNote = read.flag();
  const hasVersion = read.flag();
  read.zeros(2);
  const note = read.bytes(read.atMost(read.u32(), MAX_NOTE_BYTES, 'note length'));
  read.end();
  if (!hasNote && note.length > 0) throw malformed('owner update: a note that is not announced');
  return {
    owner,
    update: { fence, homeSetVersion, ...(hasNote ? { note } : {}), ...(hasVersion ? { noteVersion } : {}) },
  };
}

function writeState(out: ByteWriter, state: OwnerState): ByteWriter {
  return out
    .u64(state.fence.generation)
    .u64(state.fence.incarnation)
    .u64(state.homeSetVersion)
    .u64(state.noteVersion)
    .u32(state.note.length)
    .bytes(state.note, state.note.length, 'note');
}

function readState(read: ByteReader): OwnerState {
  const fence = { generation: read.u64(), incarnation: read.u64() };
  const homeSetVersion = read.u64();
  const noteVersion = read.u64();
  const note = read.bytes(read.atMost(read.u32(), MAX_NOTE_BYTES, 'note length'));
  return { fence, homeSetVersion, note, noteVersion };
}

/** Empty when the node knows nothing of the owner. */
export function encodeOwnerState(state: OwnerState | undefined): Buffer {
  if (state === undefined) return Buffer.alloc(0);
  return writeState(new ByteWriter(36 + state.note.length), state).done();
}

export function decodeOwnerState(bytes: Uint8Array): OwnerState | undefined {
  if (bytes.length === 0) return undefined;
  const read = new ByteReader(bytes, 'owner state');
  const state = readState(read);
  read.end();
  return state;
}

export function encodeListOwners(after: VolumeId | undefined, limit: number): Buffer {
  return new ByteWriter(24)
    .bytes(after === undefined ? new Uint8Array(16) : ownerOf(after), 16, 'after')
    .u32(limit)
    .flag(after !== undefined)
    .zeros(3)
    .done();
}

export function decodeListOwners(bytes: Uint8Array): { after: VolumeId | undefined; limit: number } {
  const read = new ByteReader(bytes, 'owner list request');
  const after = volumeOf(read.bytes(16));
  const limit = read.atMost(read.u32(), MAX_OWNERS_PER_PAGE, 'limit');
  const hasAfter = read.flag();
  read.zeros(3);
  read.end();
  if (limit === 0) throw malformed('owner list request: a page of none');
  return { after: hasAfter ? after : undefined, limit };
}

export function encodeOwnerPage(page: OwnerPage): Buffer {
  let lengthBytes = 8;
  for (const [, state] of page.owners) lengthBytes += 16 + 36 + state.note.length;
  const out = new ByteWriter(lengthBytes).flag(page.fencesComplete).zeros(3).u32(page.owners.length);
  for (const [owner, state] of page.owners) writeState(out.bytes(ownerOf(owner), 16, 'owner'), state);
  return out.done();
}

export function decodeOwnerPage(bytes: Uint8Array): OwnerPage {
  const read = new ByteReader(bytes, 'owner page');
  const fencesComplete = read.flag();
  read.zeros(3);
  const count = read.atMost(read.u32(), MAX_OWNERS_PER_PAGE, 'number of owners');
  const owners: [VolumeId, OwnerState][] = [];
  for (let i = 0; i < count; i++) owners.push([volumeOf(read.bytes(16)), readState(read)]);
  read.end();
  return { fencesComplete, owners };
}

export function encodeOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint): Buffer {
  const pins = range.pins ?? [];
  const out = new ByteWriter(64 + 16 * pins.length)
    .bytes(ownerOf(owner), 16, 'owner')
    .u64(stamp)
    .u64(range.fromSequence)
    .u64(range.toSequence)
    .u64(range.generation ?? 0n)
    .u64(range.incarnation ?? 0n)
    .flag(range.generation !== undefined)
    .flag(range.incarnation !== undefined)
    .zeros(2)
    .u32(pins.length);
  for (const pin of pins) out.u64(pin.fromSequence).u64(pin.toSequence);
  return out.done();
}

export function decodeOwnerRange(bytes: Uint8Array): { owner: VolumeId; range: OwnerRange; stamp: bigint } {
  const read = new ByteReader(bytes, 'owner range');
  const owner = volumeOf(read.bytes(16));
  const stamp = read.u64();
  const fromSequence = read.u64();
  const toSequence = read.u64();
  const generation = read.u64();
  const incarnation = read.u64();
  const hasGeneration = read.flag();
  const hasIncarnation = read.flag();
  read.zeros(2);
  const count = read.atMost(read.u32(), MAX_PINS, 'number of pins');
  const pins: SequenceRange[] = [];
  for (let i = 0; i < count; i++) pins.push({ fromSequence: read.u64(), toSequence: read.u64() });
  read.end();
  const epoch = { ...(hasGeneration ? { generation } : {}), ...(hasIncarnation ? { incarnation } : {}) };
  return { owner, stamp, range: { fromSequence, toSequence, ...epoch, ...(count > 0 ? { pins } : {}) } };
}
