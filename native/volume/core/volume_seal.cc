#include <algorithm>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {

Status Volume::checkImageCall(std::span<std::byte> image, const Position& position) const {
  if (closed_) return Error{Failure::kClosed, "volume", "it was closed"};
  if (image.size() < kMinImageBytes) {
    return Error{Failure::kBadArgument, "maxBytes", "must be at least 65536"};
  }
  if (position.sequence <= lastSequence_ || position.sequence > kMaxSequence) {
    return Error{Failure::kBadArgument, "sequence",
                 "must be above every one before it and below 2^47"};
  }
  if (load_ || (!applying_.empty() && applying_.front().done)) {
    return wrongState("building an image", "replay is not finished");
  }
  if (unacknowledged_.size() >= kMaxImagesInFlight) {
    return wrongState("building an image", "64 images are in flight already");
  }
  return Done{};
}

Result<std::optional<Sealed>> Volume::seal(std::span<std::byte> room, const Position& position) {
  if (Status ok = checkImageCall(room, position); !ok.ok()) return ok.error();
  const auto maxBlocks =
      static_cast<std::uint32_t>(std::min(room.size(), kMaxImageBytes) / kBlockBytes);
  // From here on new events are due: what is published later may not get into this image.
  sealAsked_.store(false);

  Image image;
  image.sequence = position.sequence;
  std::uint32_t payload = 0;
  std::uint64_t index = sealIndex_.load();
  std::uint64_t sealedBytes = 0;
  bool full = false;
  for (const std::uint64_t head = ring_->head(); index < head && !full;) {
    const auto record = ring_->published(index);
    if (!record) {
      if (holes_.erase(index) == 0) break;  // somebody is still writing it
      ++index;
      continue;
    }
    const std::uint32_t headerBlocks = imageHeaderBlocks(image.pieces.size() + 1);
    const std::uint64_t rest = record->count - sealWithin_;
    std::uint64_t n = std::min<std::uint64_t>(rest, std::uint64_t{1} << 30);
    if (record->op == RingOp::kWrite) {
      n = std::min<std::uint64_t>(n, maxBlocks - std::min(maxBlocks, headerBlocks + payload));
    }
    if (n == 0 || headerBlocks + payload > maxBlocks) break;
    Piece piece;
    piece.entry.kind = record->op == RingOp::kWrite ? EntryKind::kWrite : EntryKind::kTrim;
    piece.entry.count = static_cast<std::uint32_t>(n);
    piece.entry.block = record->block + sealWithin_;
    piece.ringIndex = index;
    piece.recordBlock = record->block;
    piece.recordBlocks = record->count;
    piece.endsRecord = n == rest;
    if (record->op == RingOp::kWrite) {
      piece.entry.payload = payload;  // counted from the end of the header until that is known
      piece.ringPosition = record->position + sealWithin_ * kBlockBytes;
      payload += static_cast<std::uint32_t>(n);
      sealedBytes += n * kBlockBytes;
    } else {
      sealedBytes += n == rest ? kBlockBytes : 0;
    }
    image.pieces.push_back(piece);
    if (n == rest) {
      ++index;
      sealWithin_ = 0;
    } else {
      sealWithin_ += n;
      full = record->op == RingOp::kWrite;
    }
  }
  sealIndex_.store(index);
  if (image.pieces.empty()) return std::optional<Sealed>{};

  ImageHeader header;
  header.kind = ImageKind::kLog;
  header.volumeId = options_.volumeId;
  header.position = position;
  header.volumeBytes = sizeBytes();
  header.entryCount = static_cast<std::uint32_t>(image.pieces.size());
  header.headerBlocks = imageHeaderBlocks(image.pieces.size());
  header.payloadBlocks = image.payloadBlocks = payload;
  header.ringId = ring_->id();
  header.ringEnd = index;
  std::vector<Entry> entries;
  entries.reserve(image.pieces.size());
  for (Piece& piece : image.pieces) {
    if (piece.entry.hasPayload()) {
      piece.entry.payload += header.headerBlocks;
      std::memcpy(room.data() + std::size_t{piece.entry.payload} * kBlockBytes,
                  ring_->bytesAt(piece.ringPosition), std::size_t{piece.entry.count} * kBlockBytes);
    }
    entries.push_back(piece.entry);
  }
  writeImageHeader(header, entries, room.data());
  image.header = headerCopy(room, entries.size());
  image.ringEnd = index;
  lastSequence_ = position.sequence;
  const std::uint64_t left = unsealedBytes_.fetch_sub(sealedBytes) - sealedBytes;
  unacknowledged_.push_back(std::move(image));
  const bool more = left != 0;
  return std::optional<Sealed>{
      Sealed{header.imageBytes(), payload, header.entryCount, more, false}};
}

Status Volume::commit(std::uint64_t sequence) {
  if (closed_) return Error{Failure::kClosed, "volume", "it was closed"};
  if (unacknowledged_.empty() || unacknowledged_.front().sequence != sequence) {
    return Error{Failure::kBadArgument, "sequence", "is not that of the oldest image in flight"};
  }
  Image image = std::move(unacknowledged_.front());
  unacknowledged_.pop_front();
  committedSequence_ = sequence;
  // Before the ring lets go of what the image holds.
  journal_.append(sequence, image.header);
  if (journal_.isFilling() && !journalAsked_) {
    journalAsked_ = true;
    events_.checkpointWanted(map_.dirtyPages(), false);
  }
  if (image.kind == ImageKind::kLog) {
    durableEnd_.store(image.ringEnd);
    answerFlushes();
  } else if (image.kind == ImageKind::kCheckpoint) {
    {
      const std::lock_guard lock(mapMutex_);
      map_.settle(sequence);
      usage_.settle(sequence);
    }
    if (image.hasRoot) finishCheckpoint(image);
  }
  applying_.push_back(std::move(image));
  applyStuck_ = false;
  runApply();
  runClean();
  return Done{};
}

}  // namespace nabu::volume
