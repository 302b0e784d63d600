#include "ec/stripe.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "ec/crc32c.h"
#include "ec/dispatch.h"
#include "ec/xxh3.h"

namespace nabu::ec {
namespace {

struct Stripe {
  std::vector<uint8_t> bytes;
  std::vector<uint32_t> crcs;
  size_t shardLength;
};

Stripe filled(int k, int m, size_t blobLength, uint64_t seed) {
  Stripe s;
  s.shardLength = shardLengthOf(blobLength, k);
  const auto total = static_cast<size_t>(k + m);
  s.bytes.assign(total * s.shardLength, 0);
  s.crcs.assign(total * s.shardLength / kBlockBytes, 0);
  std::mt19937_64 random(seed);
  std::generate_n(s.bytes.begin(), blobLength, [&] { return static_cast<uint8_t>(random()); });
  // Parity is written whatever was there.
  std::fill(s.bytes.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(k) * s.shardLength),
            s.bytes.end(), uint8_t{0xee});
  return s;
}

TEST_CASE("encoding a stripe gives parity, a checksum of every block and the name of the stripe") {
  for (const DriverStatus& driver : drivers()) {
    if (!driver.available) continue;
    for (const auto& [k, m] : {std::pair{4, 2}, std::pair{8, 2}, std::pair{2, 1}, std::pair{1, 2},
                               std::pair{3, 3}, std::pair{5, 0}, std::pair{16, 8}}) {
      for (const size_t blobLength :
           {size_t{0}, size_t{1}, size_t{4096}, size_t{70'000}, size_t{131'072}}) {
        CAPTURE(driver.name);
        CAPTURE(k);
        CAPTURE(m);
        CAPTURE(blobLength);
        Stripe s = filled(k, m, blobLength, blobLength);
        const Result<Coder> coder = Coder::create(k, m, driver.name);
        REQUIRE(coder.ok());
        const StripeHash hash =
            encodeStripe(coder.value(), s.bytes.data(), s.shardLength, blobLength, s.crcs.data());
        std::vector<const uint8_t*> shards;
        for (int i = 0; i < k + m; ++i) {
          shards.push_back(s.bytes.data() + static_cast<size_t>(i) * s.shardLength);
        }
        CHECK(coder.value().verify(shards.data(), s.shardLength) == -1);
        CHECK(verifyBlocks(s.bytes.data(), s.bytes.size(), s.crcs.data()) == -1);
        CHECK(hash == stripeHash(s.bytes.data(), blobLength, k, m));
      }
    }
  }
}

TEST_CASE("the shard length is the blob cut by k and rounded up to blocks") {
  CHECK(shardLengthOf(0, 4) == 4096);
  CHECK(shardLengthOf(1, 4) == 4096);
  CHECK(shardLengthOf(4 * 4096, 4) == 4096);
  CHECK(shardLengthOf(4 * 4096 + 1, 4) == 8192);
  CHECK(shardLengthOf(size_t{4} << 20, 4) == size_t{1} << 20);
}

TEST_CASE("the hash is XXH3-128 as published and the same by every instruction set") {
  const auto hex = [](const std::array<uint8_t, 16>& bytes) {
    std::string text;
    for (const uint8_t b : bytes) {
      text += "0123456789abcdef"[b >> 4];
      text += "0123456789abcdef"[b & 15];
    }
    return text;
  };
  // The digest of no bytes, as the library's documentation and xxhsum give it.
  CHECK(hex(xxh3Hash128("", 0)) == "99aa06d3014798d86001c324468d497f");
  std::vector<uint8_t> bytes(100'000);
  std::mt19937_64 random(4);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<uint8_t>(random()); });
  for (const size_t length : {size_t{5}, size_t{200}, size_t{1024}, size_t{99'999}}) {
    CHECK(xxh3Hash128(bytes.data(), length) == detail::xxh3Hash128Baseline(bytes.data(), length));
  }
}

TEST_CASE("stripes of other bytes, lengths or codes have other names") {
  const std::string blob = "the same bytes";
  std::set<StripeHash> names = {
      stripeHash(blob.data(), blob.size(), 4, 2),     stripeHash(blob.data(), blob.size(), 4, 3),
      stripeHash(blob.data(), blob.size(), 2, 4),     stripeHash(blob.data(), blob.size(), 8, 2),
      stripeHash(blob.data(), blob.size() - 1, 4, 2), stripeHash("the same bytes.", 15, 4, 2)};
  CHECK(names.size() == 6);
  CHECK(names.count(stripeHash("the same bytes", blob.size(), 4, 2)) == 1);
}

}  // namespace
}  // namespace nabu::ec
