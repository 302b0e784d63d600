#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "store/format.h"

namespace nabu::store {

enum EntryFlag : uint8_t {
  kEntryKindMask = 0x03,  // kShard or kTombstone; 0: empty
  kEntryLog = 0x04,
  kEntryCorrupt = 0x08,
  kEntryDegraded = 0x10,
};

/** One shard or tombstone: exactly one cache line. */
struct IndexEntry {
  uint64_t hash;
  uint64_t tag;
  uint8_t stripeId[16];
  uint64_t stamp;
  uint32_t blockLow;  // of the record's header on the device, in 4 KiB
  uint8_t blockHigh;
  uint8_t flags;
  uint16_t shape;  // shardIndex, m, k: five bits each
  uint32_t blobLength;
  uint32_t epochSlot;  // owner and writer epoch, 0: none
  uint32_t sequenceLow;
  uint16_t sequenceHigh;
  uint16_t shardBlocks;

  bool empty() const { return flags == 0; }
  uint8_t kind() const { return flags & kEntryKindMask; }
  Fingerprint print() const { return {hash, tag}; }
  bool is(const Fingerprint& print) const { return hash == print.hash && tag == print.tag; }
  uint64_t block() const { return static_cast<uint64_t>(blockHigh) << 32 | blockLow; }
  void setBlock(uint64_t block) {
    blockLow = static_cast<uint32_t>(block);
    blockHigh = static_cast<uint8_t>(block >> 32);
  }
  uint64_t sequence() const { return static_cast<uint64_t>(sequenceHigh) << 32 | sequenceLow; }
  void setSequence(uint64_t sequence) {
    sequenceLow = static_cast<uint32_t>(sequence);
    sequenceHigh = static_cast<uint16_t>(sequence >> 32);
  }
  uint8_t shardIndex() const { return shape & 31; }
  uint8_t m() const { return shape >> 5 & 31; }
  uint8_t k() const { return shape >> 10 & 31; }
  void setShape(uint8_t k, uint8_t m, uint8_t shardIndex) {
    shape = static_cast<uint16_t>(k << 10 | m << 5 | shardIndex);
  }
  /** Of the whole record: the header's checksums follow from the shard's length. */
  uint32_t recordBlocks() const {
    if (kind() != kShard) return 1;
    return headerBlocksFor(4 * shardBlocks) + shardBlocks;
  }
};
static_assert(sizeof(IndexEntry) == 64);

struct UnmapEntries {
  uint64_t lengthBytes = 0;
  void operator()(IndexEntry* at) const;
};

/**
 * Robin Hood table (Celis 1986) with linear probing and no wrap-around: an entry's home grows with
 * its hash, so the table lies in the order of hashes, a lookup reads one cache line and perhaps its
 * neighbours, and a cursor over hashes survives growth. A key may have many entries (several
 * shards, several stripes); they lie next to each other. Growth moves a bounded number of entries
 * with each change; a lookup still looks into one table only.
 */
class Index {
 public:
  /** Room for so many entries without growth. */
  explicit Index(uint64_t expected = 0);
  Index(Index&&) = default;
  Index& operator=(Index&&) = default;

  uint64_t size() const { return size_; }
  uint64_t capacity() const { return current_.buckets; }
  uint64_t memoryBytes() const;
  bool growing() const { return old_.entries != nullptr; }
  bool hugePages() const { return current_.hugePages; }

  void prefetch(const Fingerprint& print) const {
    const Table& table = tableOf(print.hash);
    __builtin_prefetch(&table.entries[table.home(print.hash)]);
  }

  /** The first entry of the key, and its neighbours with next(). Valid until the next change. */
  IndexEntry* first(const Fingerprint& print) {
    const Table& table = tableOf(print.hash);
    IndexEntry* at = &table.entries[table.home(print.hash)];
    for (;; ++at) {
      if (at->hash == print.hash && at->tag == print.tag && !at->empty()) return at;
      if (at->empty() || at->hash > print.hash) return nullptr;
    }
  }
  IndexEntry* next(IndexEntry* at) {
    const Fingerprint print = at->print();
    for (++at; !at->empty() && at->hash == print.hash; ++at) {
      if (at->tag == print.tag) return at;
    }
    return nullptr;
  }

  /** Adds; never looks whether there is one like it. */
  void insert(const IndexEntry& entry);
  /** Moves the neighbours: every pointer is stale afterwards. */
  void erase(IndexEntry* at);

  /**
   * Visits entries from `cursor` on in the order of hashes, about `limit` of them; `visit` returns
   * false to erase the entry. Returns where to go on, or 0 at the end (also where to begin).
   */
  template <class Visit>
  uint64_t sweep(uint64_t cursor, uint64_t limit, Visit&& visit) {
    uint64_t seen = 0;
    for (;;) {
      Table& table = tableOf(cursor);
      // Below the threshold entries have moved to the current table; it holds none above.
      const bool lower = growing() && &table == &current_;
      const IndexEntry* end = table.entries.get() + table.slots();
      IndexEntry* at = &table.entries[table.home(cursor)];
      uint64_t last = cursor;
      while (at != end) {
        if (at->empty() || at->hash < cursor) {
          ++at;
          continue;
        }
        if (seen >= limit && at->hash != last) return at->hash;
        last = at->hash;
        ++seen;
        if (visit(*at)) {
          ++at;
        } else {
          erase(at);  // shifts the next one here
        }
      }
      if (!lower) return 0;
      cursor = threshold();
    }
  }

 private:
  struct Table {
    std::unique_ptr<IndexEntry[], UnmapEntries> entries;
    uint64_t buckets = 0;
    bool hugePages = false;
    uint64_t home(uint64_t hash) const {
      return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) * buckets) >> 64);
    }
    uint64_t slots() const { return buckets + kTail; }
  };
  // Room behind the last bucket in place of a wrap-around; the very last slot stays empty.
  static constexpr uint64_t kTail = 1024;
  static constexpr uint64_t kBucketsPerInsert = 8;
  static Table makeTable(uint64_t buckets);
  static uint64_t roundUpToHuge(uint64_t bytes);
  static uint64_t limitOf(uint64_t buckets) { return buckets / 10 * 7; }

  const Table& tableOf(uint64_t hash) const {
    return old_.entries && old_.home(hash) >= moved_ ? old_ : current_;
  }
  Table& tableOf(uint64_t hash) {
    return old_.entries && old_.home(hash) >= moved_ ? old_ : current_;
  }
  static bool place(Table& table, const IndexEntry& entry);
  void startGrowth();
  void step(uint64_t buckets);
  /** The lowest hash whose entries are still in the old table. */
  uint64_t threshold() const;

  Table current_;
  Table old_;              // while growing
  uint64_t moved_ = 0;     // homes of the old table below this have moved
  uint64_t released_ = 0;  // bytes of the old table given back
  uint64_t size_ = 0;
};

}  // namespace nabu::store
