#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ec/dispatch.h"

namespace nabu::ec {

/**
 * CRC32C (Castagnoli, RFC 3720 section 12.1 and appendix B.4) of the bytes, going on from `crc`,
 * which is the CRC of what came before: crc32c(b, crc32c(a)) is that of a then b.
 */
uint32_t crc32c(const void* bytes, size_t length, uint32_t crc = 0);

/** One CRC for each 4 KiB of the bytes, the last for what is left. out has ceil(length / 4096)
 * places. */
void crc32cBlocks(const void* bytes, size_t length, uint32_t* out);

/** Index of the first 4 KiB block whose CRC is not the one in crcs, or -1. */
int64_t verifyBlocks(const void* bytes, size_t length, const uint32_t* crcs);

/** CRC of 4 KiB of zeros: the XOR of an even number of blocks has this on top of the XOR of their
 * CRCs. */
constexpr uint32_t kZeroBlockCrc32c = 0x98f94189;

/** The ways of computing it on this machine, fastest first; the first available one is used. */
struct Crc32cKernel {
  const char* name;
  std::string (*missing)();
  uint32_t (*extend)(uint32_t crc, const uint8_t* bytes, size_t length);
};

extern const Crc32cKernel kCrc32cTable;
extern const Crc32cKernel kCrc32cSse42;
extern const Crc32cKernel kCrc32cVpclmul;
extern const Crc32cKernel kCrc32cIsal;

std::span<const Crc32cKernel* const> crc32cKernels();

/** Compares with the table-driven reference on seeded bytes. Empty when equal. */
std::string selfCheck(const Crc32cKernel& kernel);

/** The kernel in use. Probed and self-checked at the first call; what failed its check is never
 * used. */
const Crc32cKernel& crc32cKernel();

/** As drivers(), for checksums. */
std::span<const DriverStatus> crc32cDrivers();

}  // namespace nabu::ec
