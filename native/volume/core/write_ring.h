#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "volume/core/types.h"

namespace nabu::volume {

enum class RingOp : std::uint32_t { kWrite = 1, kTrim = 2 };

struct RingRecord {
  std::uint64_t index = 0;  // counts all records ever; never repeats
  RingOp op = RingOp::kWrite;
  std::uint64_t block = 0;
  std::uint64_t count = 0;     // blocks
  std::uint64_t position = 0;  // of the data, counts all bytes ever
  std::uint64_t unique = 0;    // the kernel's name of the request, without the resent bit
};

// Completed but not yet durable writes of a volume, in a memfd that outlives the process: a block
// of state, a ring of descriptors and a ring of data. Whatever instruction the process dies at, a
// new one finds every record that was published, whole, and none that was not:
//   data is copied, then the descriptor is filled, then its stamp is stored (release): published;
//   `tail` is stored when the records before it are durable in the log.
// A descriptor counts when its stamp is that of its place and round, its checksum fits and its
// index is not before tail; one that was reserved but not published is skipped (its request was not
// answered).
//
// Behind the data lies room for a journal of images (image_journal.h); version 1 had none.
//
// reserve() is called by several threads, release() by one. Readers of data pin what they look at.
class WriteRing {
 public:
  static constexpr int kReaders = 16;

  /** A memfd laid out as an empty ring; closed with close(2). dataBytes: multiple of 4096, at least
   * 2 MiB. */
  static Result<int> createMemfd(const VolumeId& volumeId, std::uint64_t dataBytes);
  /** Maps a ring, faults it in and finds its records. The descriptor may be closed afterwards. */
  static Result<std::unique_ptr<WriteRing>> open(int memfd, const VolumeId& volumeId);
  ~WriteRing();
  WriteRing(const WriteRing&) = delete;
  WriteRing& operator=(const WriteRing&) = delete;

  /** Place for a record, or nothing when the ring is full. A write takes count blocks of data. */
  std::optional<RingRecord> reserve(RingOp op, std::uint64_t block, std::uint64_t count);
  /** The record and its data are there for good. */
  void publish(const RingRecord& record);

  /** The record of index if it is published. tail() <= index < head(). */
  std::optional<RingRecord> published(std::uint64_t index) const;

  std::byte* bytesAt(std::uint64_t position) const { return data_ + position % dataBytes_; }

  /** All records before `index` are durable in the log and in the map. */
  void release(std::uint64_t index);

  /** Random, never 0: tells one memfd from another. */
  std::uint64_t id() const { return id_; }
  std::uint64_t tail() const { return tail_->load(std::memory_order_seq_cst); }
  std::uint64_t head() const { return head_.load(std::memory_order_acquire); }
  std::uint64_t dataBytes() const { return dataBytes_; }
  std::uint64_t usedBytes() const;
  /** Empty in a ring of version 1. */
  std::span<std::byte> journalMemory() const { return journal_; }

  // While a pin is held, data of records at or after the tail of that moment stays where it is.
  class Pin {
   public:
    Pin(WriteRing& ring, int reader);
    ~Pin() { slot_.store(~std::uint64_t{0}, std::memory_order_release); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    std::atomic<std::uint64_t>& slot_;
  };

  /** Indices of the published records that were found by open(), in order. */
  const std::vector<std::uint64_t>& found() const { return found_; }
  /** Uniques of all records that open() saw, released ones whose descriptor still lies there
   * included; sorted. */
  const std::vector<std::uint64_t>& seenUniques() const { return seenUniques_; }
  /** Forgets what only the first moments after open need. */
  void dropSeen();

 private:
  struct Descriptor;
  WriteRing() = default;
  Descriptor& descriptor(std::uint64_t index) const;
  void recover();
  std::uint64_t oldestInUse() const;

  std::byte* base_ = nullptr;
  std::size_t mappedBytes_ = 0;
  Descriptor* descriptors_ = nullptr;
  std::uint64_t descriptorCount_ = 0;
  std::byte* data_ = nullptr;
  std::uint64_t dataBytes_ = 0;
  std::span<std::byte> journal_;
  std::uint64_t id_ = 0;
  std::atomic<std::uint64_t>* tail_ = nullptr;  // in the memfd

  mutable std::mutex mutex_;  // guards reserving: head_ (writes), dataHead_, starts_
  std::atomic<std::uint64_t> head_{0};
  std::uint64_t dataHead_ = 0;
  std::vector<std::uint64_t>
      starts_;  // by index % descriptorCount_: where the record's data begins
  std::array<std::atomic<std::uint64_t>, kReaders> pins_;
  std::vector<std::uint64_t> found_;
  std::vector<std::uint64_t> seenUniques_;
};

}  // namespace nabu::volume
