#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "volume/core/types.h"

namespace nabu::volume {

/** Which writer made it known that the images are history. */
struct JournalEpoch {
  std::uint64_t generation = 0;
  std::uint64_t incarnation = 0;
  bool operator==(const JournalEpoch&) const = default;
};

// The headers (and entries) of the images since the last checkpoint, in shared memory: what a new
// server would otherwise have to read from the log again, blob by blob. A copy of what is durable
// and acknowledged, nothing else; whoever reads it must know that nobody wrote history since.
//
// Whatever instruction the process dies at, a new one finds records that were appended whole: bytes
// first, then `head`. When it runs full it begins anew after the image that had no room; it is of
// use again when a checkpoint covers that one.
class ImageJournal {
 public:
  static constexpr std::size_t kHeaderBytes = 4096;
  static constexpr std::size_t kMinBytes = 64 << 10;

  ImageJournal() = default;  // holds nothing
  /** `memory` outlives it: kHeaderBytes and the records. An empty journal where there is none. */
  explicit ImageJournal(std::span<std::byte> memory);

  /** The epoch under which what is here was appended; zero when it means nothing. */
  JournalEpoch epoch() const;
  void claim(JournalEpoch epoch);

  /** Every image from this sequence on is here. */
  std::uint64_t from() const;
  void append(std::uint64_t sequence, std::span<const std::byte> header);
  /** Lets go of what a checkpoint covers. */
  void dropThrough(std::uint64_t sequence);
  /** Empty, and complete from `sequence` on. */
  void restart(std::uint64_t sequence);
  /** In order, until the visitor says no. The bytes stay where they are until the next change. */
  void forEach(
      const std::function<bool(std::uint64_t sequence, std::span<const std::byte>)>& visit) const;

  /** More than half full: a checkpoint is worth making. */
  bool isFilling() const;

 private:
  struct Header;
  struct Record;
  std::uint64_t gapAt(std::uint64_t position) const;

  Header* header_ = nullptr;
  std::byte* bytes_ = nullptr;
  std::uint64_t capacity_ = 0;
};

}  // namespace nabu::volume
