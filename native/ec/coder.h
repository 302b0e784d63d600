#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ec/code_matrix.h"
#include "ec/kernel.h"
#include "ec/result.h"

namespace nabu::ec {

/**
 * Systematic Reed-Solomon code of k data and m parity shards (k 1..16, m 0..8). Immutable: any
 * number of threads may use one at once. Lengths are bytes per shard, any number; buffers may have
 * any alignment (64 is fastest) and must not overlap. Shards are numbered data first, then parity.
 */
class Coder {
 public:
  /**
   * @param driver "auto" or a name of drivers().
   * @param workingSetBytes How much memory is cycled through between two uses of the same bytes;
   * beyond what a cache holds, parity is written past the caches. 0: judged by each call alone.
   */
  static Result<Coder> create(int dataShards, int parityShards, std::string_view driver = "auto",
                              size_t workingSetBytes = 0);

  int dataShards() const { return dataShards_; }
  int parityShards() const { return parityShards_; }
  int totalShards() const { return dataShards_ + parityShards_; }
  const char* driver() const { return kernel_->name; }

  void encode(const uint8_t* const* data, uint8_t* const* parity, size_t length) const;

  /**
   * Rebuilds the wanted shards in place. shards has k+m pointers, of which those of k present
   * shards (data first) are read and those of wanted ones written; the others are not touched and
   * may be null.
   * @returns kOk or the error of planDecode; on error nothing is written.
   */
  Result<std::monostate> reconstruct(uint8_t* const* shards, uint32_t presentMask,
                                     uint32_t wantedMask, size_t length) const;

  /** Index of the first parity shard (counted from k) that does not belong to the data, or -1. */
  int verify(const uint8_t* const* shards, size_t length) const;

  /** For strip-wise work: parity of part of a stripe, with no decision about stores. */
  void encodeStrip(const uint8_t* const* data, uint8_t* const* parity, size_t length) const {
    kernel_->multiply(tables_, length, data, parity, Stores::kCached);
  }

 private:
  Coder(int dataShards, int parityShards, const Kernel* kernel, size_t workingSetBytes);

  Stores storesFor(size_t bytes) const;

  int dataShards_;
  int parityShards_;
  const Kernel* kernel_;
  size_t workingSetBytes_;
  Tables tables_;
};

}  // namespace nabu::ec
