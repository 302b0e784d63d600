#include "volume/core/log_image.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>

namespace nabu::volume {
namespace {

std::vector<std::byte> sample() {
  const std::vector<Entry> entries{{EntryKind::kWrite, 0, 2, 7, 0, 1},
                                   {EntryKind::kTrim, 0, 1000000, 100, 0, 0},
                                   {EntryKind::kWrite, 0, 1, 9, 0, 3}};
  ImageHeader header;
  header.volumeId[3] = 9;
  header.position = {5, 6, 7, 3, 4, 2};
  header.volumeBytes = 1 << 20;
  header.entryCount = 3;
  header.headerBlocks = 1;
  header.payloadBlocks = 3;
  std::vector<std::byte> image(header.imageBytes());
  writeImageHeader(header, entries, image.data());
  return image;
}

}  // namespace

TEST_CASE("an image reads back as it was written") {
  const auto image = sample();
  const auto parsed = parseImage(image);
  REQUIRE(parsed.ok());
  const ImageHeader& header = parsed.value().header;
  CHECK(header.position.generation == 5);
  CHECK(header.position.checkpointSequence == 2);
  CHECK(header.volumeId[3] == 9);
  CHECK(parsed.value().entries.size() == 3);
  CHECK(parsed.value().entries[1].count == 1000000);
  CHECK(parsed.value().entries[2].payload == 3);
}

TEST_CASE("a bit that changed anywhere in the header is noticed") {
  const auto image = sample();
  for (std::size_t bit = 0; bit < kBlockBytes * 8; ++bit) {
    auto bad = image;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    REQUIRE_FALSE(parseImage(bad).ok());
  }
}

TEST_CASE("a newer version is refused by name, a short image for its length") {
  auto image = sample();
  CHECK_FALSE(parseImage(std::span(image).first(4095)).ok());
  CHECK_FALSE(parseImage(std::span(image).first(2 * kBlockBytes)).ok());
  image[4] = std::byte{2};
  REQUIRE_FALSE(parseImage(image).ok());
  CHECK(parseImage(image).error().failure == Failure::kUnknownFormat);
}

TEST_CASE("images with a right checksum and wrong content are refused or harmless") {
  std::mt19937 random(1);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<Entry> entries(random() % 6);
    for (Entry& entry : entries) {
      entry.kind = static_cast<EntryKind>(random() % 8);
      entry.level = static_cast<std::uint8_t>(random() % 9);
      entry.count = random() % 4 == 0 ? static_cast<std::uint32_t>(random()) : random() % 4;
      entry.block = random() % 4 == 0 ? ~std::uint64_t{0} - random() % 8 : random() % 1000;
      entry.old = random() % 3 == 0 ? ~std::uint64_t{0} : random();
      entry.payload = random() % 6;
    }
    ImageHeader header;
    header.kind = static_cast<ImageKind>(random() % 5);
    header.hasRoot = random() % 4 == 0;
    header.position.sequence = random() % 5 == 0 ? ~std::uint64_t{0} : 1 + random() % 5;
    header.volumeBytes = random() % 5 == 0 ? random() : kBlockBytes;
    header.entryCount = static_cast<std::uint32_t>(entries.size());
    header.headerBlocks = 1;
    header.payloadBlocks = random() % 8;
    std::vector<std::byte> image(8 * kBlockBytes);
    writeImageHeader(header, entries, image.data());
    const auto parsed = parseImage(image);
    if (!parsed.ok()) continue;
    ++accepted;
    std::uint32_t payload = parsed.value().header.headerBlocks;
    for (const Entry& entry : parsed.value().entries) {
      if (!entry.hasPayload()) continue;
      CHECK(entry.payload == payload);
      payload += entry.count;
    }
    CHECK(payload * kBlockBytes <= image.size());
  }
  CHECK(accepted > 0);
}

TEST_CASE("random bytes are no image and no root") {
  std::mt19937 random(2);
  std::vector<std::byte> noise(2 * kBlockBytes);
  for (int round = 0; round < 2000; ++round) {
    for (auto& byte : noise) byte = static_cast<std::byte>(random());
    CHECK_FALSE(parseImage(noise).ok());
    CHECK_FALSE(parseRoot(noise.data()).ok());
  }
}

TEST_CASE("a root reads back as it was written and notices damage") {
  const RootRecord root{{1, 2, 3}, 10, 11, 1 << 20, 12, 13, 4, 5};
  std::array<std::byte, kBlockBytes> block;
  writeRoot(root, block.data());
  const auto parsed = parseRoot(block.data());
  REQUIRE(parsed.ok());
  CHECK(parsed.value().coveredSequence == 10);
  CHECK(parsed.value().usageLevels == 5);
  block[30] ^= std::byte{1};
  CHECK_FALSE(parseRoot(block.data()).ok());
}

}  // namespace nabu::volume
