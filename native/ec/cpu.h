#pragma once

#include <string>

namespace nabu::ec {

/** What the kernels need: instructions that the processor has and whose registers the system saves
 * (XCR0). */
struct CpuFeatures {
  bool sse42 = false;
  bool pclmul = false;
  bool avx2 = false;
  /** Foundation, byte and word, vector length, doubleword and quadword. */
  bool avx512 = false;
  bool gfni = false;
  bool vpclmulqdq = false;
  /** Why AVX2 or AVX-512 are off although the processor has them; empty when they are not. */
  std::string systemLimits;
};

/** Read once, by CPUID and XGETBV (Intel SDM volume 1, 13.3 and 14.3). */
const CpuFeatures& cpuFeatures();

// What is missing for a kernel, or empty. Here and not beside the kernels: a file compiled for wide
// vectors must not hold library code that the linker could choose for everybody.
std::string missingNothing();
std::string missingForSse42();
std::string missingForAvx2();
std::string missingForGfni();
std::string missingForVpclmul();

}  // namespace nabu::ec
