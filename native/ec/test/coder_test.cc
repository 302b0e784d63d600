#include "ec/coder.h"

#include <isa-l/erasure_code.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <thread>

#include "doctest/doctest.h"
#include "ec/dispatch.h"
#include "ec/gf256.h"
#include "ec/test/bytes.h"

namespace nabu::ec {
namespace {

using testing::Shards;

Coder make(int k, int m, const std::string& driver = "auto") {
  Result<Coder> coder = Coder::create(k, m, driver);
  REQUIRE(coder.ok());
  return coder.value();
}

std::vector<std::string> availableDrivers() {
  std::vector<std::string> names;
  for (const DriverStatus& d : drivers()) {
    if (d.available) names.push_back(d.name);
  }
  return names;
}

/** Loses the masked shards, rebuilds the wanted ones and compares them with what they were. */
void loseAndRebuild(const Coder& coder, Shards& shards, uint32_t lost, uint32_t wanted,
                    size_t length) {
  const int total = coder.totalShards();
  std::vector<std::vector<uint8_t>> before;
  for (int s = 0; s < total; ++s) before.push_back(shards.copyOf(s));
  std::vector<uint8_t*> pointers(static_cast<size_t>(total));
  for (int s = 0; s < total; ++s) {
    const bool isLost = lost >> s & 1;
    if (isLost) std::memset(shards[s], 0xa5, length);
    // What is neither present nor wanted must not be touched at all.
    pointers[static_cast<size_t>(s)] = !isLost || (wanted >> s & 1) != 0 ? shards[s] : nullptr;
  }
  const uint32_t present = ((1u << total) - 1) & ~lost;
  REQUIRE(coder.reconstruct(pointers.data(), present, wanted, length).ok());
  for (int s = 0; s < total; ++s) {
    const auto& was = before[static_cast<size_t>(s)];
    if (wanted >> s & 1 || !(lost >> s & 1)) {
      REQUIRE(shards.copyOf(s) == was);
    } else {
      std::memcpy(shards[s], was.data(), length);
    }
  }
}

TEST_CASE("every loss of up to m shards of 4+2 and 8+2 is rebuilt by every driver") {
  for (const std::string& driver : availableDrivers()) {
    for (const int k : {4, 8}) {
      CAPTURE(driver);
      CAPTURE(k);
      const size_t length = 321;
      const Coder coder = make(k, 2, driver);
      Shards shards(k + 2, length, 7);
      coder.encode(shards.all(), shards.all() + k, length);
      for (uint32_t lost = 0; lost < 1u << (k + 2); ++lost) {
        if (std::popcount(lost) > 2) continue;
        CAPTURE(lost);
        // Every subset of the lost shards may be what somebody wants back.
        for (uint32_t wanted = lost;; wanted = (wanted - 1) & lost) {
          loseAndRebuild(coder, shards, lost, wanted, length);
          if (wanted == 0) break;
        }
      }
    }
  }
}

TEST_CASE("random losses of random codes up to 16+8, at odd lengths and alignments, are rebuilt") {
  std::mt19937_64 random(42);
  const auto drivers = availableDrivers();
  for (int round = 0; round < 600; ++round) {
    const int k = 1 + static_cast<int>(random() % kMaxDataShards);
    const int m = static_cast<int>(random() % (kMaxParityShards + 1));
    const size_t length = 1 + random() % 700;
    const std::string& driver = drivers[random() % drivers.size()];
    CAPTURE(driver);
    CAPTURE(k);
    CAPTURE(m);
    CAPTURE(length);
    const Coder coder = make(k, m, driver);
    Shards shards(k + m, length, random(), random() % 64);
    coder.encode(shards.all(), shards.all() + k, length);
    CHECK(coder.verify(shards.all(), length) == -1);
    uint32_t lost = 0;
    const auto erasures = static_cast<int>(random() % static_cast<size_t>(m + 1));
    while (std::popcount(lost) < erasures) lost |= 1u << random() % static_cast<size_t>(k + m);
    loseAndRebuild(coder, shards, lost, static_cast<uint32_t>(random()) & lost, length);
    loseAndRebuild(coder, shards, lost, lost, length);
  }
}

TEST_CASE(
    "every square submatrix of the parity matrix is invertible, so any k shards give the data") {
  // For 4+4 and 16+2 all ways to lose m shards; the random test above covers the rest.
  for (const auto& [k, m] : {std::pair{4, 4}, std::pair{16, 2}, std::pair{8, 4}}) {
    const Coder coder = make(k, m);
    const size_t length = 64;
    Shards shards(k + m, length, 3);
    coder.encode(shards.all(), shards.all() + k, length);
    for (uint32_t lost = 0; lost < 1u << (k + m); ++lost) {
      if (std::popcount(lost) == m) loseAndRebuild(coder, shards, lost, lost, length);
    }
  }
}

TEST_CASE(
    "all drivers write the same parity as the scalar reference, unaligned and at odd lengths") {
  for (const std::string& driver : availableDrivers()) {
    for (int k = 1; k <= kMaxDataShards; ++k) {
      for (int m = 1; m <= kMaxParityShards; ++m) {
        for (const size_t length : {size_t{1}, size_t{31}, size_t{64}, size_t{128}, size_t{1000}}) {
          for (const size_t misalign : {size_t{0}, size_t{1}, size_t{33}}) {
            Shards want(k + m, length, 11, misalign);
            Shards got(k + m, length, 11, misalign);
            make(k, m, "scalar").encode(want.all(), want.all() + k, length);
            make(k, m, driver).encode(got.all(), got.all() + k, length);
            for (int s = 0; s < k + m; ++s) REQUIRE(got.copyOf(s) == want.copyOf(s));
          }
        }
      }
    }
  }
}

TEST_CASE("streaming stores of a large working set change no byte, aligned or not") {
  for (const size_t misalign : {size_t{0}, size_t{8}}) {
    const size_t length = 100'003;
    Shards want(6, length, 5, misalign);
    Shards got(6, length, 5, misalign);
    make(4, 2, "scalar").encode(want.all(), want.all() + 4, length);
    Result<Coder> coder = Coder::create(4, 2, "auto", size_t{1} << 30);
    REQUIRE(coder.ok());
    coder.value().encode(got.all(), got.all() + 4, length);
    for (int s = 0; s < 6; ++s) REQUIRE(got.copyOf(s) == want.copyOf(s));
  }
}

TEST_CASE("the parity matrix is the documented one, for ever") {
  // Format: changing any of these makes stored parity unreadable.
  CHECK(gf256::multiply(0x80, 2) == 0x1d);
  for (int c = 0; c < kMaxDataShards; ++c) CHECK(parityCoefficient(0, c) == 1);
  for (int r = 0; r < kMaxParityShards; ++r) CHECK(parityCoefficient(r, 0) == 1);
  for (int r = 0; r < kMaxParityShards; ++r) {
    for (int c = 0; c < kMaxDataShards; ++c) {
      const auto cauchy = [](int row, int column) {
        return gf_inv(static_cast<unsigned char>((16 + row) ^ column));
      };
      const unsigned char scaled = gf_mul(gf_mul(cauchy(r, c), gf_inv(cauchy(0, c))),
                                          gf_inv(gf_mul(cauchy(r, 0), gf_inv(cauchy(0, 0)))));
      CHECK(parityCoefficient(r, c) == scaled);
    }
  }
}

TEST_CASE("ISA-L, given our coefficients, writes our parity") {
  const int k = 8;
  const int m = 3;
  const size_t length = 4096;
  Shards ours(k + m, length, 9);
  Shards theirs(k + m, length, 9);
  make(k, m).encode(ours.all(), ours.all() + k, length);
  Coefficients matrix = parityMatrix(k, m);
  std::vector<unsigned char> tables(32 * k * m);
  ec_init_tables(k, m, matrix.values.data(), tables.data());
  ec_encode_data(static_cast<int>(length), k, m, tables.data(),
                 const_cast<unsigned char**>(theirs.all()),
                 const_cast<unsigned char**>(theirs.all() + k));
  for (int s = 0; s < k + m; ++s) CHECK(ours.copyOf(s) == theirs.copyOf(s));
}

TEST_CASE("a code of one data shard makes copies") {
  const Coder coder = make(1, 2);
  Shards shards(3, 5000, 1);
  coder.encode(shards.all(), shards.all() + 1, 5000);
  CHECK(shards.copyOf(1) == shards.copyOf(0));
  CHECK(shards.copyOf(2) == shards.copyOf(0));
}

TEST_CASE("verify names the first parity shard that does not belong to the data") {
  const size_t length = 9000;
  const Coder coder = make(4, 3);
  Shards shards(7, length, 2);
  coder.encode(shards.all(), shards.all() + 4, length);
  CHECK(coder.verify(shards.all(), length) == -1);
  shards[6][1] ^= 1;
  CHECK(coder.verify(shards.all(), length) == 2);
  shards[5][length - 1] ^= 0x80;
  CHECK(coder.verify(shards.all(), length) == 1);
  shards[0][4500] ^= 4;
  CHECK(coder.verify(shards.all(), length) == 0);
}

TEST_CASE("wrong arguments are errors that say what is wrong") {
  CHECK(Coder::create(0, 2).error().code == ErrorCode::kBadArgument);
  CHECK(Coder::create(17, 2).error().code == ErrorCode::kBadArgument);
  CHECK(Coder::create(4, -1).error().code == ErrorCode::kBadArgument);
  CHECK(Coder::create(4, 9).error().code == ErrorCode::kBadArgument);
  const auto unknown = Coder::create(4, 2, "quantum");
  CHECK(unknown.error().code == ErrorCode::kBadArgument);
  CHECK(unknown.error().message.find("quantum") != std::string::npos);

  const Coder coder = make(4, 2);
  Shards shards(6, 64, 1);
  CHECK(coder.reconstruct(shards.all(), 0b000111, 0b001000, 64).error().code ==
        ErrorCode::kTooFewShards);
  CHECK(coder.reconstruct(shards.all(), 0b111111, 0b000001, 64).error().code ==
        ErrorCode::kBadArgument);
  CHECK(coder.reconstruct(shards.all(), 0b1001111, 0, 64).error().code == ErrorCode::kBadArgument);
}

TEST_CASE("a driver that is not available is an error that says what is missing") {
  for (const DriverStatus& driver : drivers()) {
    const auto coder = Coder::create(4, 2, driver.name);
    CHECK(coder.ok() == driver.available);
    if (driver.available) {
      CHECK(coder.value().driver() == driver.name);
      CHECK(driver.reason.empty());
    } else {
      CHECK(coder.error().code == ErrorCode::kDriverUnavailable);
      CHECK(coder.error().message.find(driver.name) != std::string::npos);
      CHECK(coder.error().message.find(driver.reason) != std::string::npos);
    }
  }
}

TEST_CASE("a kernel that writes one wrong bit fails its self check by name") {
  static constexpr auto kWrong = [](const Tables& tables, size_t length, const uint8_t* const* in,
                                    uint8_t* const* out, Stores stores) {
    kScalarKernel.multiply(tables, length, in, out, stores);
    if (tables.columns == 16) out[tables.rows - 1][length - 1] ^= 1;
  };
  const Kernel broken = {"broken", kScalarKernel.missing, kScalarKernel.prepare, kWrong};
  CHECK(selfCheck(broken).find("kernel broken failed its self check") == 0);
  CHECK(selfCheck(kScalarKernel).empty());
}

TEST_CASE("one coder serves many threads at once") {
  const Coder coder = make(4, 2);
  const size_t length = 4096;
  std::vector<std::thread> threads;
  std::vector<int> bad(4, 0);
  for (size_t t = 0; t < bad.size(); ++t) {
    threads.emplace_back([&coder, &bad, t] {
      Shards shards(6, length, t);
      for (int i = 0; i < 50; ++i) {
        shards[0][i] ^= 1;
        coder.encode(shards.all(), shards.all() + 4, length);
        const auto parity = shards.copyOf(5);
        if (!coder.reconstruct(shards.all(), 0b001111, 0b100000, length).ok()) ++bad[t];
        if (shards.copyOf(5) != parity || coder.verify(shards.all(), length) != -1) ++bad[t];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(bad == std::vector<int>(4, 0));
}

}  // namespace
}  // namespace nabu::ec
