#include <algorithm>
#include <cstring>

#include "volume/core/volume.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {
namespace {
constexpr std::size_t kMaxStagedBlocks = 2048;
}  // namespace

std::vector<Victim> Volume::pickVictims(std::size_t max, double utilisation,
                                        std::uint32_t smallBlocks) {
  std::vector<Victim> victims;
  const std::lock_guard lock(mapMutex_);
  usage_.forEachLoaded([&](std::uint64_t sequence, std::uint64_t value) {
    if (sequence > coveredSequence_ || sequence == checkpointSequence_) return;
    std::uint32_t live = liveOf(value);
    if (const auto* pages = usagePagesIn_.find(sequence)) live += *pages;
    const auto total = totalOf(value);
    if (live == 0 || total == 0) return;
    if (live > utilisation * total && total > smallBlocks) return;
    victims.push_back({sequence, live, total});
  });
  const auto emptier = [](const Victim& a, const Victim& b) {
    return std::uint64_t{a.liveBlocks} * b.totalBlocks <
           std::uint64_t{b.liveBlocks} * a.totalBlocks;
  };
  const std::size_t n = std::min(max, victims.size());
  std::partial_sort(victims.begin(), victims.begin() + static_cast<std::ptrdiff_t>(n),
                    victims.end(), emptier);
  victims.resize(n);
  return victims;
}

void Volume::stageClean(std::span<const std::byte> bytes,
                        std::function<void(Result<StagedCounts>)> done) {
  if (closed_) return done(Error{Failure::kClosed, "volume", "it was closed"});
  auto parsed = parseImage(bytes);
  if (!parsed.ok()) return done(parsed.error());
  const ImageHeader& header = parsed.value().header;
  if (header.volumeId != options_.volumeId) {
    return done(Error{Failure::kInvalidImage, "image", "it belongs to another volume"});
  }
  std::size_t room = staged_.size() + header.payloadBlocks;
  for (const CleanJob& job : cleaning_) room += job.image.header.payloadBlocks;
  if (room > kMaxStagedBlocks) {
    return done(Error{Failure::kNoRoom, "staging memory for cleaning",
                      "build clean images of what is staged first"});
  }
  cleaning_.push_back({std::move(parsed.value()), bytes, std::move(done)});
  runClean();
}

// Goes on with the victim; nothing and `need` when a page of the map is missing.
std::optional<bool> Volume::cleanSome(CleanJob& job, PageNeed& need) {
  const std::lock_guard lock(mapMutex_);
  for (; job.entry < job.image.entries.size(); ++job.entry, job.within = 0) {
    const Entry& entry = job.image.entries[job.entry];
    const Location first = makeLocation(job.image.header.position.sequence, entry.payload);
    if (entry.kind == EntryKind::kMapPage || entry.kind == EntryKind::kUsagePage) {
      RadixMap& tree = entry.kind == EntryKind::kMapPage ? map_ : usage_;
      const auto touched = tree.touch({entry.level, entry.block}, first, need);
      if (!touched) return std::nullopt;
      changes_ += *touched;
      continue;
    }
    if (entry.kind != EntryKind::kWrite && entry.kind != EntryKind::kCopyIfAt) continue;
    for (; job.within < entry.count; ++job.within) {
      const std::uint64_t block = entry.block + job.within;
      const auto now = map_.get(block, need);
      if (!now) return std::nullopt;
      if (*now != first + job.within) continue;
      const auto slot = static_cast<std::uint32_t>(staged_.size());
      if (stagedBytes_.size() < (std::size_t{slot} + 1) * kBlockBytes) {
        stagedBytes_.resize((std::size_t{slot} + 1) * kBlockBytes);
      }
      std::memcpy(stagedBytes_.data() + std::size_t{slot} * kBlockBytes,
                  job.bytes.data() + (std::size_t{entry.payload} + job.within) * kBlockBytes,
                  kBlockBytes);
      staged_.push_back({block, *now, slot});
      ++job.added;
    }
  }
  return true;
}

void Volume::runClean() {
  while (!cleaning_.empty() && !closed_) {
    CleanJob& job = cleaning_.front();
    PageNeed need;
    if (!cleanSome(job, need)) {
      std::vector<FetchWanted> wanted;
      waitForPage(PageOf::kMap, need, nullptr, wanted);
      if (!wanted.empty()) events_.fetch(wanted);
      return;
    }
    auto done = std::move(job.done);
    const StagedCounts counts{job.added, staged_.size()};
    cleaning_.pop_front();
    done(counts);
  }
}

Result<std::optional<Sealed>> Volume::cleanImage(std::span<std::byte> room,
                                                 const Position& position) {
  if (Status ok = checkImageCall(room, position); !ok.ok()) return ok.error();
  if (!cleaning_.empty())
    return Error{Failure::kWrongState, "building a clean image", "a victim is being staged"};
  {
    // What was overwritten since it was staged need not be copied. Page missing = cannot tell =
    // copy.
    const std::lock_guard lock(mapMutex_);
    std::erase_if(staged_, [&](const Staged& s) {
      PageNeed need;
      const auto now = map_.get(s.block, need);
      return now && *now != s.old;
    });
  }
  if (staged_.empty()) {
    stagedBytes_ = {};
    return std::optional<Sealed>{};
  }
  std::sort(staged_.begin(), staged_.end(),
            [](const Staged& a, const Staged& b) { return a.block < b.block; });
  const auto maxBlocks =
      static_cast<std::uint32_t>(std::min(room.size(), kMaxImageBytes) / kBlockBytes);
  std::vector<Entry> entries;
  std::uint32_t payload = 0;
  for (; payload < staged_.size(); ++payload) {
    const Staged& s = staged_[payload];
    const bool joins = !entries.empty() && s.block == entries.back().block + entries.back().count &&
                       s.old == entries.back().old + entries.back().count;
    if (imageHeaderBlocks(entries.size() + !joins) + payload + 1 > maxBlocks) break;
    if (joins) {
      ++entries.back().count;
    } else {
      entries.push_back({EntryKind::kCopyIfAt, 0, 1, s.block, s.old, payload});
    }
  }
  ImageHeader header;
  header.kind = ImageKind::kClean;
  header.volumeId = options_.volumeId;
  header.position = position;
  header.volumeBytes = sizeBytes();
  header.entryCount = static_cast<std::uint32_t>(entries.size());
  header.headerBlocks = imageHeaderBlocks(entries.size());
  header.payloadBlocks = payload;
  Image image;
  image.kind = ImageKind::kClean;
  image.sequence = position.sequence;
  image.payloadBlocks = payload;
  for (Entry& entry : entries) {
    entry.payload += header.headerBlocks;
    image.pieces.push_back(Piece{.entry = entry});
  }
  for (std::uint32_t i = 0; i < payload; ++i) {
    std::memcpy(room.data() + (std::size_t{header.headerBlocks} + i) * kBlockBytes,
                stagedBytes_.data() + std::size_t{staged_[i].slot} * kBlockBytes, kBlockBytes);
  }
  writeImageHeader(header, entries, room.data());
  image.header = headerCopy(room, entries.size());
  // What is left moves to the front of the staging memory.
  std::vector<Staged> rest(staged_.begin() + payload, staged_.end());
  std::vector<std::byte> restBytes(rest.size() * kBlockBytes);
  for (std::uint32_t i = 0; i < rest.size(); ++i) {
    std::memcpy(restBytes.data() + std::size_t{i} * kBlockBytes,
                stagedBytes_.data() + std::size_t{rest[i].slot} * kBlockBytes, kBlockBytes);
    rest[i].slot = i;
  }
  staged_ = std::move(rest);
  stagedBytes_ = std::move(restBytes);
  lastSequence_ = position.sequence;
  unacknowledged_.push_back(std::move(image));
  return std::optional<Sealed>{
      Sealed{header.imageBytes(), payload, header.entryCount, !staged_.empty(), false}};
}

std::vector<std::uint64_t> Volume::deletable(std::size_t max) {
  std::vector<std::uint64_t> sequences;
  for (const std::uint64_t sequence : deletable_) {
    if (sequences.size() == max) break;
    sequences.push_back(sequence);
  }
  return sequences;
}

void Volume::forget(std::span<const std::uint64_t> sequences) {
  const std::lock_guard lock(mapMutex_);
  for (const std::uint64_t sequence : sequences) {
    if (deletable_.erase(sequence) == 0) continue;  // never what may still be needed
    dead_.erase(sequence);
    PageNeed need;
    const std::uint64_t before = usage_.set(sequence, 0, need).value_or(0);
    if (before == 0) continue;
    --knownSequences_;
    totalBlocks_ -= totalOf(before);
    ++changes_;
  }
}

bool Volume::usageIsExact() {
  const std::lock_guard lock(mapMutex_);
  FlatMap<std::uint32_t> counted;
  map_.forEachLoaded([&](std::uint64_t, std::uint64_t value) { ++counted.at(sequenceOf(value)); });
  std::vector<Location> pages;
  map_.storedLocations(pages);
  // Stored versions of pages that are frozen now are counted as dead already.
  if (!map_.checkpointing()) {
    for (const Location page : pages) ++counted.at(sequenceOf(page));
  }
  bool exact = true;
  std::uint64_t live = 0;
  usage_.forEachLoaded([&](std::uint64_t sequence, std::uint64_t value) {
    const auto* expected = counted.find(sequence);
    exact = exact && liveOf(value) == (expected == nullptr ? 0 : *expected);
    live += liveOf(value);
  });
  return exact && live == liveBlocks_;
}

}  // namespace nabu::volume
