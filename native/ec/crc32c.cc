#include "ec/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "ec/cpu.h"
#include "ec/limits.h"

namespace nabu::ec {
namespace {

constexpr uint32_t kPolynomialReflected = 0x82f63b78;

constexpr auto kByteTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomialReflected : 0);
    table[i] = crc;
  }
  return table;
}();

uint32_t extendByTable(uint32_t crc, const uint8_t* bytes, size_t length) {
  crc = ~crc;
  for (size_t i = 0; i < length; ++i) crc = crc >> 8 ^ kByteTable[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

uint32_t extendByIsal(uint32_t crc, const uint8_t* bytes, size_t length) {
  constexpr size_t kMaxCallBytes = size_t{1} << 30;  // the library takes lengths as int
  crc = ~crc;
  for (size_t done = 0; done < length;) {
    const size_t step = std::min(length - done, kMaxCallBytes);
    crc = crc32_iscsi(const_cast<uint8_t*>(bytes) + done, static_cast<int>(step), crc);
    done += step;
  }
  return ~crc;
}

struct Registry {
  std::vector<DriverStatus> statuses;
  const Crc32cKernel* chosen = &kCrc32cTable;
};

const Registry& registry() {
  static const Registry instance = [] {
    Registry r;
    bool found = false;
    for (const Crc32cKernel* kernel : crc32cKernels()) {
      std::string reason = kernel->missing();
      if (reason.empty()) reason = selfCheck(*kernel);
      if (reason.empty() && !found) {
        r.chosen = kernel;
        found = true;
      }
      r.statuses.push_back({kernel->name, reason.empty(), reason});
    }
    return r;
  }();
  return instance;
}

}  // namespace

const Crc32cKernel kCrc32cTable = {"table", missingNothing, extendByTable};
const Crc32cKernel kCrc32cIsal = {"isal", missingNothing, extendByIsal};

std::span<const Crc32cKernel* const> crc32cKernels() {
  static constexpr const Crc32cKernel* kKernels[] = {
#if defined(__x86_64__)
    &kCrc32cVpclmul,
    &kCrc32cIsal,
    &kCrc32cSse42,
#else
    &kCrc32cIsal,
#endif
    &kCrc32cTable
  };
  return kKernels;
}

std::string selfCheck(const Crc32cKernel& kernel) {
  std::mt19937_64 random(0x63726333);
  std::vector<uint8_t> bytes(2 * kBlockBytes + 512);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<uint8_t>(random()); });
  for (const size_t length : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{63}, size_t{64},
                              size_t{255}, size_t{256}, size_t{257}, size_t{1031}, kBlockBytes,
                              kBlockBytes + 1, 2 * kBlockBytes + 300}) {
    for (const size_t shift : {size_t{0}, size_t{3}, size_t{64}}) {
      for (const uint32_t start : {0u, 0xdeadbeefu}) {
        const uint8_t* from = bytes.data() + shift;
        if (kernel.extend(start, from, length) == extendByTable(start, from, length)) continue;
        return std::string("CRC32C kernel ") + kernel.name + " failed its self check over " +
               std::to_string(length) + " bytes";
      }
    }
  }
  return {};
}

std::span<const DriverStatus> crc32cDrivers() { return registry().statuses; }

const Crc32cKernel& crc32cKernel() {
  static const Crc32cKernel& kernel = *registry().chosen;
  return kernel;
}

uint32_t crc32c(const void* bytes, size_t length, uint32_t crc) {
  return crc32cKernel().extend(crc, static_cast<const uint8_t*>(bytes), length);
}

void crc32cBlocks(const void* bytes, size_t length, uint32_t* out) {
  const auto extend = crc32cKernel().extend;
  const auto* from = static_cast<const uint8_t*>(bytes);
  for (size_t at = 0; at < length; at += kBlockBytes) {
    *out++ = extend(0, from + at, std::min(kBlockBytes, length - at));
  }
}

int64_t verifyBlocks(const void* bytes, size_t length, const uint32_t* crcs) {
  const auto extend = crc32cKernel().extend;
  const auto* from = static_cast<const uint8_t*>(bytes);
  for (size_t at = 0, block = 0; at < length; at += kBlockBytes, ++block) {
    if (extend(0, from + at, std::min(kBlockBytes, length - at)) != crcs[block]) {
      return static_cast<int64_t>(block);
    }
  }
  return -1;
}

}  // namespace nabu::ec
