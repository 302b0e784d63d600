#include "volume/core/read_cache.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

namespace nabu::volume {
namespace {

std::vector<std::byte> run(Location first, std::uint32_t count) {
  std::vector<std::byte> bytes(count * kBlockBytes);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Location number = first + i;
    std::memcpy(bytes.data() + i * kBlockBytes, &number, sizeof number);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a cache gives back runs as they were put in, whatever lies between") {
  ReadCache cache(4096 * kBlockBytes);
  const Location first = makeLocation(9, 20);
  cache.insert(first, 100, run(first, 100).data(), false);
  std::vector<std::byte> out(64 * kBlockBytes);
  CHECK(cache.read(first + 30, 64, out.data()) == ~std::uint64_t{0});
  CHECK(std::memcmp(out.data(), run(first + 30, 64).data(), out.size()) == 0);
  CHECK(cache.read(first + 98, 4, out.data()) == 0b0011);
  CHECK(cache.present(first - 2, 4) == 0b1100);
}

TEST_CASE("a cache never holds more than it may, and keeps what is read over what is not") {
  ReadCache cache(1024 * kBlockBytes);
  std::vector<std::byte> out(kBlockBytes);
  const Location hot = makeLocation(1, 1);
  cache.insert(hot, 1, run(hot, 1).data(), true);
  for (std::uint64_t sequence = 2; sequence < 5000; ++sequence) {
    const Location at = makeLocation(sequence, 7);
    cache.insert(at, 8, run(at, 8).data(), false);
    REQUIRE(cache.read(hot, 1, out.data()) == 1);
  }
  CHECK(cache.capacityBlocks() == 1024);
  CHECK(cache.usedBlocks() <= 1024);
  CHECK(cache.usedBlocks() > 900);
}

}  // namespace nabu::volume
