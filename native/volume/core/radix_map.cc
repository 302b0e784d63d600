#include "volume/core/radix_map.h"

#include <algorithm>
#include <cstring>

namespace nabu::volume {
namespace {
constexpr std::uint64_t kEntryMask = kPageEntries - 1;
PageId parentId(PageId id) {
  return {static_cast<std::uint8_t>(id.level + 1), id.index / kPageEntries};
}
}  // namespace

RadixMap::RadixMap(int levels, std::size_t pageLimit)
    : levels_(levels), pageLimit_(std::max<std::size_t>(pageLimit, 16)) {}
RadixMap::~RadixMap() = default;

RadixMap::Page* RadixMap::find(PageId id) {
  Page** found = byId_.find(id.key());
  return found == nullptr ? nullptr : *found;
}

RadixMap::Page* RadixMap::parentOf(const Page& page) {
  return page.id.level + 1 == levels_ ? nullptr : find(parentId(page.id));
}

RadixMap::Page* RadixMap::create(PageId id) {
  evictIfFull();
  auto page = std::make_unique<Page>();
  page->id = id;
  page->slot = static_cast<std::uint32_t>(pages_.size());
  Page* raw = page.get();
  pages_.push_back(std::move(page));
  byId_.at(id.key()) = raw;
  if (Page* parent = parentOf(*raw)) ++parent->loadedChildren;
  return raw;
}

bool RadixMap::evictable(const Page& page) const {
  return !page.dirty && !page.pending && !page.settling && page.loadedChildren == 0;
}

void RadixMap::drop(Page& page) {
  if (Page* parent = parentOf(page)) --parent->loadedChildren;
  if (lastLeaf_ == &page) lastLeaf_ = nullptr;
  byId_.erase(page.id.key());
  const std::uint32_t slot = page.slot;
  if (slot + 1 != pages_.size()) {
    std::swap(pages_[slot], pages_.back());
    pages_[slot]->slot = slot;
  }
  pages_.pop_back();
}

void RadixMap::evictIfFull() {
  if (pages_.size() < pageLimit_) return;
  // Bounded: when nearly all is dirty, going round for one victim each time would cost more than a
  // page too many.
  for (int steps = 256; steps > 0 && pages_.size() >= pageLimit_; --steps) {
    if (hand_ >= pages_.size()) hand_ = 0;
    Page& page = *pages_[hand_];
    if (!evictable(page)) {
      ++hand_;
    } else if (page.referenced) {
      page.referenced = false;
      ++hand_;
    } else {
      drop(page);
    }
  }
}

RadixMap::Page* RadixMap::leaf(std::uint64_t index, bool make, PageNeed& need) {
  const std::uint64_t leafIndex = index / kPageEntries;
  if (lastLeaf_ != nullptr && lastLeaf_->id.index == leafIndex) return lastLeaf_;
  need.location = 0;
  // Up from the leaf to the first page that is here, then down again.
  PageId id{0, leafIndex};
  Page* page = find(id);
  while (page == nullptr && id.level + 1 < levels_) {
    id = parentId(id);
    page = find(id);
  }
  if (page == nullptr) {
    if (root_ != 0) {
      need = {id, root_};
      return nullptr;
    }
    if (!make) return nullptr;
    page = create(id);
  }
  while (id.level > 0) {
    page->referenced = true;
    const PageId child{static_cast<std::uint8_t>(id.level - 1), leafIndex >> (9 * (id.level - 1))};
    if (const Location stored = page->entries[child.index & kEntryMask]) {
      need = {child, stored};
      return nullptr;
    }
    if (!make) return nullptr;
    // The parent cannot be dropped meanwhile: it is touched, and create() counts the child after.
    ++page->loadedChildren;
    Page* made = create(child);
    --page->loadedChildren;
    page = made;
    id = child;
  }
  page->referenced = true;
  lastLeaf_ = page;
  return page;
}

std::optional<std::uint64_t> RadixMap::get(std::uint64_t index, PageNeed& need) {
  Page* page = leaf(index, false, need);
  if (page != nullptr) return page->entries[index & kEntryMask];
  if (need.location != 0) return std::nullopt;
  return 0;
}

std::optional<std::span<const std::uint64_t>> RadixMap::leafFrom(std::uint64_t index,
                                                                 PageNeed& need) {
  Page* page = leaf(index, false, need);
  if (page != nullptr) return std::span(page->entries).subspan(index & kEntryMask);
  if (need.location != 0) return std::nullopt;
  return std::span<const std::uint64_t>{};
}

void RadixMap::markDirty(Page& page) {
  if (page.dirty) return;
  page.dirty = true;
  ++dirtyCount_;
}

void RadixMap::change(Page& page, std::uint32_t entry, std::uint64_t value) {
  if (page.pending && page.frozen == nullptr) {
    page.frozen = std::make_unique<PageEntries>(page.entries);
  }
  page.used += (value != 0) - (page.entries[entry] != 0);
  page.entries[entry] = value;
  markDirty(page);
}

std::optional<std::uint64_t> RadixMap::set(std::uint64_t index, std::uint64_t value,
                                           PageNeed& need) {
  Page* page = leaf(index, value != 0, need);
  if (page == nullptr) {
    if (need.location != 0) return std::nullopt;
    return 0;
  }
  const std::uint64_t before = page->entries[index & kEntryMask];
  if (before != value) change(*page, index & kEntryMask, value);
  return before;
}

bool RadixMap::nextMapped(std::uint64_t& at, std::uint64_t end, PageNeed& need) {
  while (at < end) {
    if (Page* page = leaf(at, false, need)) {
      const std::uint64_t stop = std::min(end, (at | kEntryMask) + 1);
      for (; at < stop; ++at) {
        if (page->entries[at & kEntryMask] != 0) return true;
      }
      continue;
    }
    if (need.location != 0) return false;
    // A hole: up to the largest subtree around it that has no page, then on along its parent's
    // entries.
    PageId id{0, at / kPageEntries};
    Page* parent = nullptr;
    while (id.level + 1 < levels_ && (parent = find(parentId(id))) == nullptr) id = parentId(id);
    do {
      ++id.index;
    } while (parent != nullptr && (id.index & kEntryMask) != 0 &&
             parent->entries[id.index & kEntryMask] == 0 &&
             (parent->loadedChildren == 0 || find(id) == nullptr));
    at = id.index << (9 * (id.level + 1));
  }
  at = end;
  return true;
}

bool RadixMap::install(const PageNeed& need, const std::byte* bytes) {
  if (find(need.id) != nullptr) return false;
  if (need.id.level + 1 == levels_) {
    if (root_ != need.location) return false;
  } else {
    Page* parent = find(parentId(need.id));
    if (parent == nullptr) return false;  // dropped since: the next lookup asks again, from above
    if (parent->entries[need.id.index & kEntryMask] != need.location) return false;
    parent->referenced = true;
    ++parent->loadedChildren;  // keeps it from being dropped to make room for its child
    Page* page = create(need.id);
    --parent->loadedChildren;
    std::memcpy(page->entries.data(), bytes, kBlockBytes);
    page->stored = need.location;
    for (const auto entry : page->entries) page->used += entry != 0;
    return true;
  }
  Page* page = create(need.id);
  std::memcpy(page->entries.data(), bytes, kBlockBytes);
  page->stored = need.location;
  for (const auto entry : page->entries) page->used += entry != 0;
  return true;
}

std::optional<bool> RadixMap::touch(PageId id, Location location, PageNeed& need) {
  if (id.level >= levels_ || id.index >> (9 * (levels_ - 1 - id.level)) != 0) return false;
  if (Page* page = find(id)) {
    if (page->stored != location || page->pending) return false;
    markDirty(*page);
    return true;
  }
  // Walk down from the top; any difference on the way means that the version is not current.
  PageId at{static_cast<std::uint8_t>(levels_ - 1), 0};
  Location stored = root_;
  while (true) {
    Page* page = find(at);
    if (page == nullptr) {
      if (stored == 0 || (at == id && stored != location)) return false;
      need = {at, stored};
      return std::nullopt;
    }
    if (at.level == 0) return false;
    const PageId child{static_cast<std::uint8_t>(at.level - 1),
                       id.index >> (9 * (at.level - 1 - id.level))};
    stored = page->entries[child.index & kEntryMask];
    at = child;
  }
}

bool RadixMap::freeze(std::vector<Location>& replaced) {
  if (dirtyCount_ == 0 || checkpointing_) return false;
  std::vector<std::vector<Page*>> levels(levels_);
  const auto take = [&](Page& page) {
    if (page.dirty) {
      page.dirty = false;
      --dirtyCount_;
    }
    page.pending = true;
    ++pendingCount_;
    if (page.stored != 0) replaced.push_back(page.stored);
    levels[page.id.level].push_back(&page);
  };
  for (const auto& page : pages_) {
    if (!page->dirty || page->pending) continue;
    take(*page);
    for (Page* up = parentOf(*page); up != nullptr && !up->pending; up = parentOf(*up)) take(*up);
  }
  for (auto& level : levels) {
    std::sort(level.begin(), level.end(),
              [](const Page* a, const Page* b) { return a->id.index < b->id.index; });
    pending_.insert(pending_.end(), level.begin(), level.end());
  }
  checkpointing_ = true;
  return true;
}

std::optional<RadixMap::Frozen> RadixMap::next() {
  if (pending_.empty()) return std::nullopt;
  Page& page = *pending_.front();
  const PageEntries& view = page.frozen ? *page.frozen : page.entries;
  const bool empty =
      page.frozen ? std::all_of(view.begin(), view.end(), [](std::uint64_t e) { return e == 0; })
                  : page.used == 0;
  return Frozen{page.id, &view, empty};
}

void RadixMap::placed(Location location) {
  Page& page = *pending_.front();
  pending_.pop_front();
  page.pending = false;
  --pendingCount_;
  page.frozen.reset();
  page.stored = location;
  if (location != 0) {
    page.settling = true;
    settling_.emplace_back(sequenceOf(location), &page);
  }
  if (Page* parent = parentOf(page)) {
    // The parent is frozen too and has only changed through its children: no copy is needed.
    std::uint64_t& entry = parent->entries[page.id.index & kEntryMask];
    parent->used += (location != 0) - (entry != 0);
    entry = location;
  } else {
    root_ = location;
  }
  if (pending_.empty()) checkpointing_ = false;
}

void RadixMap::settle(std::uint64_t sequence) {
  while (!settling_.empty() && settling_.front().first <= sequence) {
    settling_.front().second->settling = false;
    settling_.pop_front();
  }
}

void RadixMap::storedLocations(std::vector<Location>& out) const {
  for (const auto& page : pages_) {
    if (page->stored != 0) out.push_back(page->stored);
  }
}

void RadixMap::missingPages(std::vector<PageNeed>& out, std::size_t limit) const {
  if (root_ == 0) return;
  const PageId top{static_cast<std::uint8_t>(levels_ - 1), 0};
  if (byId_.find(top.key()) == nullptr) {
    out.push_back({top, root_});
    return;
  }
  for (const auto& page : pages_) {
    if (page->id.level == 0) continue;
    for (std::uint32_t i = 0; i < kPageEntries && out.size() < limit; ++i) {
      if (page->entries[i] == 0) continue;
      const PageId child{static_cast<std::uint8_t>(page->id.level - 1),
                         page->id.index * kPageEntries + i};
      if (byId_.find(child.key()) == nullptr) out.push_back({child, page->entries[i]});
    }
  }
}

}  // namespace nabu::volume
