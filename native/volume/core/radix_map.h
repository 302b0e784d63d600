#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "volume/core/flat_map.h"
#include "volume/core/types.h"

namespace nabu::volume {

inline constexpr std::uint32_t kPageEntries = 512;
using PageEntries = std::array<std::uint64_t, kPageEntries>;

// Identifies a page of a RadixMap: level 0 holds values, level n the locations of pages of n-1.
struct PageId {
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  std::uint64_t key() const { return std::uint64_t{level} << 56 | index; }
  bool operator==(const PageId&) const = default;
};

// A page that must be brought from the log before an operation can go on.
struct PageNeed {
  PageId id;
  Location location = 0;
};

// 64-bit index to 64-bit value (0 = nothing) as a copy-on-write tree of 4 KiB pages with a fixed
// number of levels, of which only a bounded part is in memory. An operation that meets a page that
// is not here says which one it needs; the caller brings it (install) and repeats the operation.
//
// A checkpoint freezes the map at one moment: pages that were dirty then are written out, children
// first, while changes go on (a page that is changed before it was written keeps a frozen copy).
// A child in memory implies that its ancestors are. Not thread safe.
class RadixMap {
 public:
  /** pageLimit: pages kept in memory; exceeded only by pages that cannot be dropped. */
  RadixMap(int levels, std::size_t pageLimit);
  ~RadixMap();
  RadixMap(const RadixMap&) = delete;
  RadixMap& operator=(const RadixMap&) = delete;

  std::uint64_t capacity() const { return std::uint64_t{1} << (9 * levels_); }

  /** The map is what the page at `root` says (0 = empty). Only on a map without pages. */
  void setRoot(Location root) { root_ = root; }
  Location root() const { return root_; }

  /** The value, or nothing and `need` says which page is missing. index < capacity(). */
  std::optional<std::uint64_t> get(std::uint64_t index, PageNeed& need);

  /** The values from `index` to the end of its leaf: empty span = a hole of that length; nothing =
   * need. */
  std::optional<std::span<const std::uint64_t>> leafFrom(std::uint64_t index, PageNeed& need);

  /** Sets the value and returns the one before, or nothing and `need`. */
  std::optional<std::uint64_t> set(std::uint64_t index, std::uint64_t value, PageNeed& need);

  /**
   * Moves `at` to the first index >= at and < end with a value, or to `end`. False and `need` when
   * a page is missing: `at` has then gone as far as was possible, so that a caller with little room
   * for pages still gets on.
   */
  bool nextMapped(std::uint64_t& at, std::uint64_t end, PageNeed& need);

  /** Takes in a page that was needed. False when it is not wanted (here already, or replaced
   * since). */
  bool install(const PageNeed& page, const std::byte* bytes);

  /** Marks the page for the next checkpoint if it is the current version. Nothing and `need` when
   * it must be loaded first. */
  std::optional<bool> touch(PageId id, Location location, PageNeed& need);

  // Checkpoint, in this order: freeze, then (next, placed)* until next says nothing.
  /** Freezes what is dirty, with the ancestors. The stored versions that this replaces go to
   * `replaced`. False: clean. */
  bool freeze(std::vector<Location>& replaced);
  struct Frozen {
    PageId id;
    const PageEntries* entries;
    bool empty;  // nothing in it: not to be written, placed at 0
  };
  std::optional<Frozen> next();
  /** The page that next() gave has its place now. It stays in memory until settle() of that
   * sequence. */
  void placed(Location location);
  /** Pages that have yet to be placed; an upper bound of what will be written. */
  std::size_t pendingPages() const { return pendingCount_; }
  bool checkpointing() const { return checkpointing_; }
  /** Images up to this sequence are durable: their pages may be dropped and read again. */
  void settle(std::uint64_t sequence);

  /** Every stored location of a page in memory (for a map that is wholly in memory). */
  void storedLocations(std::vector<Location>& out) const;
  /** Visits every value of the leaves in memory: visit(index, value). */
  template <class F>
  void forEachLoaded(F&& visit) const {
    for (const auto& page : pages_) {
      if (page->id.level != 0) continue;
      for (std::uint32_t i = 0; i < kPageEntries; ++i) {
        if (page->entries[i] != 0) visit(page->id.index * kPageEntries + i, page->entries[i]);
      }
    }
  }
  /** Any page missing of the whole tree: for loading it all. */
  void missingPages(std::vector<PageNeed>& out, std::size_t limit) const;

  std::size_t pagesInMemory() const { return pages_.size(); }
  std::size_t dirtyPages() const { return dirtyCount_ + pendingCount_; }
  std::size_t pageLimit() const { return pageLimit_; }

 private:
  struct Page {
    PageId id;
    Location stored = 0;
    std::uint32_t slot = 0;
    std::uint32_t loadedChildren = 0;
    std::uint32_t used = 0;  // entries that are not 0
    bool dirty = false;      // changed since it was stored (or frozen)
    bool pending = false;    // in the running checkpoint, not placed yet
    bool settling = false;   // placed in an image that is not durable yet
    bool referenced = true;
    std::unique_ptr<PageEntries> frozen;
    PageEntries entries{};
  };

  Page* find(PageId id);
  Page* create(PageId id);
  Page* parentOf(const Page& page);
  /** The leaf of index, made when it is in a hole and `make`; nullptr with need.location == 0 =
   * hole. */
  Page* leaf(std::uint64_t index, bool make, PageNeed& need);
  void change(Page& page, std::uint32_t entry, std::uint64_t value);
  void markDirty(Page& page);
  void evictIfFull();
  bool evictable(const Page& page) const;
  void drop(Page& page);

  int levels_;
  std::size_t pageLimit_;
  Location root_ = 0;
  FlatMap<Page*> byId_;
  std::vector<std::unique_ptr<Page>> pages_;
  std::size_t hand_ = 0;
  std::size_t dirtyCount_ = 0;
  std::size_t pendingCount_ = 0;
  bool checkpointing_ = false;
  std::deque<Page*> pending_;  // children first
  std::deque<std::pair<std::uint64_t, Page*>> settling_;
  Page* lastLeaf_ = nullptr;  // most lookups hit the leaf of the one before
};

}  // namespace nabu::volume
