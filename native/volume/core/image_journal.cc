#include "volume/core/image_journal.h"

#include <atomic>
#include <cstring>

#include "ec/crc32c.h"

namespace nabu::volume {
namespace {

constexpr std::uint64_t kMagic = 0x4c4e524a44424eULL;  // NBDJRNL
constexpr std::uint64_t kNever = ~std::uint64_t{0};

constexpr std::uint64_t padded(std::uint64_t bytes) { return (bytes + 7) & ~std::uint64_t{7}; }

}  // namespace

// Positions count all bytes ever; a record is contiguous, so some bytes before the end may be
// skipped.
struct ImageJournal::Header {
  std::uint64_t magic;
  std::atomic<std::uint64_t> generation;
  std::atomic<std::uint64_t> incarnation;
  std::atomic<std::uint64_t> from;
  std::atomic<std::uint64_t> tail;
  std::atomic<std::uint64_t> head;
};

struct ImageJournal::Record {
  std::uint64_t sequence;
  std::uint32_t lengthBytes;
  std::uint32_t checksum;  // of sequence and bytes
};

namespace {

std::uint32_t checksumOf(std::uint64_t sequence, std::span<const std::byte> bytes) {
  return ec::crc32c(bytes.data(), bytes.size(), ec::crc32c(&sequence, sizeof sequence));
}

}  // namespace

ImageJournal::ImageJournal(std::span<std::byte> memory) {
  if (memory.size() < kHeaderBytes + kMinBytes) return;
  static_assert(sizeof(Header) <= kHeaderBytes);
  header_ = reinterpret_cast<Header*>(memory.data());
  bytes_ = memory.data() + kHeaderBytes;
  capacity_ = (memory.size() - kHeaderBytes) & ~std::uint64_t{7};
  const std::uint64_t tail = header_->tail.load();
  const std::uint64_t head = header_->head.load();
  if (header_->magic == kMagic && tail <= head && head - tail <= capacity_ && tail % 8 == 0 &&
      head % 8 == 0) {
    return;
  }
  header_->from.store(kNever);
  header_->generation.store(0);
  header_->incarnation.store(0);
  header_->tail.store(0);
  header_->head.store(0);
  header_->magic = kMagic;
}

JournalEpoch ImageJournal::epoch() const {
  if (header_ == nullptr) return {};
  return {header_->generation.load(), header_->incarnation.load()};
}

void ImageJournal::claim(JournalEpoch epoch) {
  if (header_ == nullptr) return;
  // In between it belongs to nobody.
  header_->generation.store(0);
  header_->incarnation.store(epoch.incarnation);
  header_->generation.store(epoch.generation);
}

std::uint64_t ImageJournal::from() const {
  return header_ == nullptr ? kNever : header_->from.load();
}

// Bytes to skip at a position, because no record begins so close before the end.
std::uint64_t ImageJournal::gapAt(std::uint64_t position) const {
  const std::uint64_t toEnd = capacity_ - position % capacity_;
  return toEnd < sizeof(Record) ? toEnd : 0;
}

void ImageJournal::append(std::uint64_t sequence, std::span<const std::byte> header) {
  if (header_ == nullptr) return;
  const std::uint64_t need = sizeof(Record) + padded(header.size());
  std::uint64_t at = header_->head.load();
  at += gapAt(at);
  const std::uint64_t toEnd = capacity_ - at % capacity_;
  const bool wraps = need > toEnd;
  const std::uint64_t end = at + (wraps ? toEnd : 0) + need;
  if (need > capacity_ || end - header_->tail.load() > capacity_) return restart(sequence + 1);
  if (wraps) {
    const Record skip{0, static_cast<std::uint32_t>(toEnd - sizeof(Record)), 0};
    std::memcpy(bytes_ + at % capacity_, &skip, sizeof skip);
    at += toEnd;
  }
  const Record record{sequence, static_cast<std::uint32_t>(header.size()),
                      checksumOf(sequence, header)};
  std::byte* to = bytes_ + at % capacity_;
  std::memcpy(to + sizeof record, header.data(), header.size());
  std::memcpy(to, &record, sizeof record);
  header_->head.store(end, std::memory_order_release);
}

void ImageJournal::dropThrough(std::uint64_t sequence) {
  if (header_ == nullptr) return;
  std::uint64_t tail = header_->tail.load();
  const std::uint64_t head = header_->head.load();
  while (tail < head) {
    tail += gapAt(tail);
    Record record;
    std::memcpy(&record, bytes_ + tail % capacity_, sizeof record);
    if (record.sequence > sequence) break;  // what is skipped has sequence 0
    tail += sizeof record + padded(record.lengthBytes);
  }
  header_->tail.store(tail < head ? tail : head, std::memory_order_release);
  if (header_->from.load() <= sequence) header_->from.store(sequence + 1);
}

void ImageJournal::restart(std::uint64_t sequence) {
  if (header_ == nullptr) return;
  header_->from.store(kNever);
  header_->tail.store(header_->head.load());
  header_->from.store(sequence);
}

void ImageJournal::forEach(
    const std::function<bool(std::uint64_t, std::span<const std::byte>)>& visit) const {
  if (header_ == nullptr) return;
  const std::uint64_t head = header_->head.load(std::memory_order_acquire);
  for (std::uint64_t at = header_->tail.load(); at < head;) {
    at += gapAt(at);
    if (at >= head) return;
    Record record;
    std::memcpy(&record, bytes_ + at % capacity_, sizeof record);
    const std::uint64_t size = sizeof record + padded(record.lengthBytes);
    if (size > head - at || size > capacity_ - at % capacity_) return;
    if (record.sequence != 0) {
      const std::span<const std::byte> bytes(bytes_ + at % capacity_ + sizeof record,
                                             record.lengthBytes);
      if (checksumOf(record.sequence, bytes) != record.checksum) return;
      if (!visit(record.sequence, bytes)) return;
    }
    at += size;
  }
}

bool ImageJournal::isFilling() const {
  return header_ != nullptr && (header_->head.load() - header_->tail.load()) * 2 > capacity_;
}

}  // namespace nabu::volume
