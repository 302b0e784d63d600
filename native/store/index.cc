#include "store/index.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace nabu::store {
namespace {

constexpr uint64_t kHugePageBytes = 2U << 20;
constexpr uint64_t kFirstBuckets = 16384;

}  // namespace

void UnmapEntries::operator()(IndexEntry* at) const { ::munmap(at, lengthBytes); }

Index::Table Index::makeTable(uint64_t buckets) {
  Table table;
  table.buckets = buckets;
  const uint64_t length = roundUpToHuge((buckets + kTail) * sizeof(IndexEntry));
  // Mapped one huge page too long, so that the table begins on a huge page's boundary.
  void* raw = ::mmap(nullptr, length + kHugePageBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const uint64_t head = roundUpToHuge(address) - address;
  auto* start = static_cast<uint8_t*>(raw) + head;
  if (head > 0) ::munmap(raw, head);
  ::munmap(start + length, kHugePageBytes - head);
  table.hugePages = ::madvise(start, length, MADV_HUGEPAGE) == 0;
  table.entries = std::unique_ptr<IndexEntry[], UnmapEntries>(reinterpret_cast<IndexEntry*>(start),
                                                              UnmapEntries{length});
  return table;
}

uint64_t Index::roundUpToHuge(uint64_t bytes) {
  return (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
}

Index::Index(uint64_t expected) {
  uint64_t buckets = kFirstBuckets;
  while (limitOf(buckets) < expected) buckets *= 2;
  current_ = makeTable(buckets);
}

uint64_t Index::memoryBytes() const {
  uint64_t sum = current_.entries.get_deleter().lengthBytes;
  if (old_.entries) sum += old_.entries.get_deleter().lengthBytes - released_;
  return sum;
}

bool Index::place(Table& table, const IndexEntry& entry) {
  IndexEntry* const begin = table.entries.get();
  IndexEntry* const last = begin + table.slots() - 1;  // stays empty
  IndexEntry* at = begin + table.home(entry.hash);
  while (!at->empty() && at->hash <= entry.hash) ++at;
  IndexEntry* hole = at;
  while (!hole->empty()) ++hole;
  if (hole == last) return false;
  std::memmove(at + 1, at, static_cast<size_t>(hole - at) * sizeof(IndexEntry));
  *at = entry;
  return true;
}

void Index::insert(const IndexEntry& entry) {
  if (growing()) {
    step(kBucketsPerInsert);
  } else if (size_ >= limitOf(current_.buckets)) {
    startGrowth();
  }
  while (!place(tableOf(entry.hash), entry)) {
    // A run that reaches the end of its table: all at once, which is slow, and next to impossible.
    if (!growing()) startGrowth();
    while (growing()) step(1U << 16);
  }
  ++size_;
}

void Index::erase(IndexEntry* at) {
  Table& table = tableOf(at->hash);
  IndexEntry* const begin = table.entries.get();
  IndexEntry* end = at + 1;
  while (!end->empty() && begin + table.home(end->hash) < end) ++end;
  std::memmove(at, at + 1, static_cast<size_t>(end - at - 1) * sizeof(IndexEntry));
  std::memset(static_cast<void*>(end - 1), 0, sizeof(IndexEntry));
  --size_;
}

void Index::startGrowth() {
  Table next = makeTable(current_.buckets * 2);
  old_ = std::move(current_);
  current_ = std::move(next);
  moved_ = 0;
  released_ = 0;
}

uint64_t Index::threshold() const {
  const auto numerator = static_cast<unsigned __int128>(moved_) << 64;
  return static_cast<uint64_t>((numerator + old_.buckets - 1) / old_.buckets);
}

void Index::step(uint64_t buckets) {
  const uint64_t target = std::min(moved_ + buckets, old_.buckets);
  IndexEntry* const begin = old_.entries.get();
  const uint64_t slots = old_.slots();
  for (uint64_t at = moved_; at < slots; ++at) {
    const IndexEntry& entry = begin[at];
    if (entry.empty()) {
      if (at >= target) break;
      continue;
    }
    const uint64_t home = old_.home(entry.hash);
    if (home >= target) break;
    // Left behind by an earlier step: moved already.
    if (home < moved_) continue;
    if (!place(current_, entry)) {
      // Twice the room and still a run to the very end: only equal hashes without end do that.
      throw std::bad_alloc();
    }
  }
  moved_ = target;
  if (moved_ == old_.buckets) {
    old_ = Table{};
    return;
  }
  // What is never looked at again goes back piece by piece: unmapping it whole at the end would be
  // a long pause.
  const uint64_t passed = moved_ * sizeof(IndexEntry) / kHugePageBytes * kHugePageBytes;
  if (passed > released_) {
    ::madvise(reinterpret_cast<uint8_t*>(begin) + released_, passed - released_, MADV_DONTNEED);
    released_ = passed;
  }
}

}  // namespace nabu::store
