#pragma once

#include <array>
#include <cstdint>

#include "ec/limits.h"
#include "ec/result.h"

namespace nabu::ec {

/**
 * The parity matrix, which is part of the on-disk format and never changes.
 *
 * One Cauchy matrix serves every code: a(r, c) = 1 / ((16 + r) xor c) for 8 rows and 16 columns,
 * then each column is divided by its first element and each row by its first, which keeps every
 * square submatrix invertible (scaling a row or a column only scales determinants). So
 *  - a k+m code is the 16+8 code with data shards left out (zeros) and parity shards left out;
 *  - parity shard 0 is the plain XOR of the data shards, so that its CRCs follow from theirs;
 *  - with k = 1 every parity shard is a copy: replication needs no second code path.
 */
uint8_t parityCoefficient(int row, int column);

/** Rows of coefficients over k input shards, row-major, rows * k bytes in use. */
struct Coefficients {
  int rows = 0;
  int columns = 0;
  std::array<uint8_t, kMaxParityShards * kMaxDataShards> values{};

  uint8_t& at(int row, int column) { return values[static_cast<size_t>(row * columns + column)]; }
  uint8_t at(int row, int column) const {
    return values[static_cast<size_t>(row * columns + column)];
  }
};

Coefficients parityMatrix(int dataShards, int parityShards);

/** How to get the wanted shards from k of the present ones. */
struct DecodePlan {
  /** The k shards to read, by shard index. */
  std::array<uint8_t, kMaxDataShards> inputs{};
  /** The shards that come out, by shard index, in the order of the rows. */
  std::array<uint8_t, kMaxParityShards> outputs{};
  Coefficients coefficients;
};

/**
 * Masks have bit i for shard i (data first, then parity). Solves only for the e lost data shards:
 * with S the e parity rows used, lost = S_lost^-1 (parity + S_known known), so the cost is e^3 +
 * e^2 k table look-ups and not k^3.
 *
 * @returns kTooFewShards when fewer than k shards are present, kBadArgument when a wanted shard is
 * present or a mask names a shard that the code has not. At most m shards can be wanted then.
 */
Result<DecodePlan> planDecode(int dataShards, int parityShards, uint32_t presentMask,
                              uint32_t wantedMask);

}  // namespace nabu::ec
