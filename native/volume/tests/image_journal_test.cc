#include "volume/core/image_journal.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace nabu::volume {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t kMemory = ImageJournal::kHeaderBytes + ImageJournal::kMinBytes;

Bytes headerOf(std::uint64_t sequence, std::size_t length) {
  Bytes header(length);
  for (std::size_t i = 0; i < length; ++i) {
    header[i] = static_cast<std::byte>(sequence * 31 + i);
  }
  return header;
}

std::map<std::uint64_t, Bytes> contentOf(const ImageJournal& journal) {
  std::map<std::uint64_t, Bytes> content;
  std::uint64_t last = 0;
  journal.forEach([&](std::uint64_t sequence, std::span<const std::byte> bytes) {
    CHECK(sequence > last);
    last = sequence;
    content[sequence] = Bytes(bytes.begin(), bytes.end());
    return true;
  });
  return content;
}

TEST_CASE("a new journal says that it is nobody's and holds nothing from anywhere") {
  Bytes memory(kMemory);
  const ImageJournal journal(memory);
  CHECK(journal.epoch() == JournalEpoch{});
  CHECK(journal.from() == ~std::uint64_t{0});
  CHECK(contentOf(journal).empty());
}

TEST_CASE("a journal without memory takes everything and holds nothing") {
  ImageJournal journal;
  journal.restart(1);
  journal.append(1, headerOf(1, 128));
  journal.dropThrough(1);
  journal.claim({1, 1});
  CHECK(contentOf(journal).empty());
  CHECK(journal.epoch() == JournalEpoch{});
  CHECK_FALSE(journal.isFilling());
}

TEST_CASE("whatever is appended and dropped, the next process finds what a plain list has") {
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    Bytes memory(kMemory + random() % 3 * 8);
    std::map<std::uint64_t, Bytes> model;
    std::uint64_t from = 1;
    std::uint64_t sequence = 0;
    {
      ImageJournal journal(memory);
      journal.restart(1);
      journal.claim({3, 4});
    }
    for (int step = 0; step < 400; ++step) {
      // Opened anew now and then: only the memory counts.
      ImageJournal journal(memory);
      if (random() % 8 == 0 && !model.empty()) {
        auto at = model.begin();
        std::advance(at, random() % model.size());
        const std::uint64_t through = at->first;
        journal.dropThrough(through);
        model.erase(model.begin(), model.upper_bound(through));
        from = std::max(from, through + 1);
      } else {
        sequence += 1 + random() % 3;
        const Bytes header = headerOf(sequence, 128 + random() % 200 * 32);
        journal.append(sequence, header);
        model[sequence] = header;
        if (journal.from() == sequence + 1) {  // no room: it began anew
          model.clear();
          from = sequence + 1;
        }
      }
      CHECK(journal.from() == from);
      REQUIRE(contentOf(journal) == model);
    }
    CHECK(ImageJournal(memory).epoch() == JournalEpoch{3, 4});
  }
}

TEST_CASE("an image that has no room at all makes the journal begin behind it") {
  Bytes memory(kMemory);
  ImageJournal journal(memory);
  journal.restart(1);
  journal.append(1, headerOf(1, 256));
  journal.append(2, headerOf(2, kMemory));
  CHECK(journal.from() == 3);
  CHECK(contentOf(journal).empty());
  journal.append(3, headerOf(3, 256));
  CHECK(contentOf(journal).size() == 1);
}

TEST_CASE("a record that was not finished, or was damaged, ends what is found") {
  Bytes memory(kMemory);
  ImageJournal journal(memory);
  journal.restart(1);
  for (std::uint64_t i = 1; i <= 3; ++i) journal.append(i, headerOf(i, 128));
  memory[ImageJournal::kHeaderBytes + 2 * (16 + 128) + 40] ^= std::byte{1};
  CHECK(contentOf(journal).size() == 2);
}

TEST_CASE("more than half full is filling") {
  Bytes memory(kMemory);
  ImageJournal journal(memory);
  journal.restart(1);
  journal.append(1, headerOf(1, kMemory / 4));
  CHECK_FALSE(journal.isFilling());
  journal.append(2, headerOf(2, kMemory / 3));
  CHECK(journal.isFilling());
}

}  // namespace
}  // namespace nabu::volume
