#include "ec/crc32c.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "ec/limits.h"

namespace nabu::ec {
namespace {

std::vector<uint8_t> randomBytes(size_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(length);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<uint8_t>(random()); });
  return bytes;
}

TEST_CASE("CRC32C gives the vectors of RFC 3720 appendix B.4 with every kernel") {
  std::vector<uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), uint8_t{0});
  const std::vector<uint8_t> falling(rising.rbegin(), rising.rend());
  const std::vector<uint8_t> readCommand = {
      0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  const std::string digits = "123456789";
  for (const Crc32cKernel* kernel : crc32cKernels()) {
    if (!kernel->missing().empty()) continue;
    CAPTURE(kernel->name);
    const auto crc = [&](const std::vector<uint8_t>& v) {
      return kernel->extend(0, v.data(), v.size());
    };
    CHECK(crc(std::vector<uint8_t>(32, 0)) == 0x8a9136aa);
    CHECK(crc(std::vector<uint8_t>(32, 0xff)) == 0x62a8ab43);
    CHECK(crc(rising) == 0x46dd794e);
    CHECK(crc(falling) == 0x113fdb5c);
    CHECK(crc(readCommand) == 0xd9963a56);
    CHECK(crc({digits.begin(), digits.end()}) == 0xe3069283);
    CHECK(crc(std::vector<uint8_t>(kBlockBytes, 0)) == kZeroBlockCrc32c);
    CHECK(crc({}) == 0);
  }
}

TEST_CASE("every CRC kernel equals the table at every length and cut") {
  const auto bytes = randomBytes(3 * kBlockBytes, 1);
  for (const Crc32cKernel* kernel : crc32cKernels()) {
    if (!kernel->missing().empty()) continue;
    CAPTURE(kernel->name);
    for (size_t length = 0; length < 1100; ++length) {
      const uint8_t* from = bytes.data() + length % 67;
      REQUIRE(kernel->extend(0, from, length) == kCrc32cTable.extend(0, from, length));
    }
    const uint32_t whole = kernel->extend(0, bytes.data(), bytes.size());
    for (size_t cut = 0; cut < bytes.size(); cut += 111) {
      REQUIRE(kernel->extend(kernel->extend(0, bytes.data(), cut), bytes.data() + cut,
                             bytes.size() - cut) == whole);
    }
    CHECK(selfCheck(*kernel).empty());
  }
}

TEST_CASE("block checksums cover each 4 KiB and a shorter last one") {
  const auto bytes = randomBytes(2 * kBlockBytes + 10, 2);
  uint32_t crcs[3];
  crc32cBlocks(bytes.data(), bytes.size(), crcs);
  CHECK(crcs[0] == crc32c(bytes.data(), kBlockBytes));
  CHECK(crcs[1] == crc32c(bytes.data() + kBlockBytes, kBlockBytes));
  CHECK(crcs[2] == crc32c(bytes.data() + 2 * kBlockBytes, 10));
}

TEST_CASE("verification names the first block in which any bit differs") {
  auto bytes = randomBytes(5 * kBlockBytes, 3);
  uint32_t crcs[5];
  crc32cBlocks(bytes.data(), bytes.size(), crcs);
  CHECK(verifyBlocks(bytes.data(), bytes.size(), crcs) == -1);
  for (const size_t at : {size_t{0}, kBlockBytes - 1, 3 * kBlockBytes + 77, 5 * kBlockBytes - 1}) {
    bytes[at] ^= 0x10;
    CHECK(verifyBlocks(bytes.data(), bytes.size(), crcs) == static_cast<int64_t>(at / kBlockBytes));
    bytes[at] ^= 0x10;
  }
  bytes[kBlockBytes] ^= 1;
  bytes[4 * kBlockBytes] ^= 1;
  CHECK(verifyBlocks(bytes.data(), bytes.size(), crcs) == 1);
}

TEST_CASE("a checksum kernel that is wrong fails its self check by name") {
  const Crc32cKernel broken = {
      "broken", kCrc32cTable.missing, [](uint32_t crc, const uint8_t* bytes, size_t length) {
        return kCrc32cTable.extend(crc, bytes, length) ^ (length > 1000 ? 1u : 0u);
      }};
  CHECK(selfCheck(broken).find("CRC32C kernel broken failed its self check") == 0);
}

}  // namespace
}  // namespace nabu::ec
