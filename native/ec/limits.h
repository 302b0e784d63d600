#pragma once

#include <cstddef>
#include <cstdint>

namespace nabu::ec {

constexpr int kMaxDataShards = 16;
constexpr int kMaxParityShards = 8;
constexpr int kMaxShards = kMaxDataShards + kMaxParityShards;
/** Checksums cover blocks of this size, and encoding walks a stripe in strips of it. */
constexpr size_t kBlockBytes = 4096;

}  // namespace nabu::ec
