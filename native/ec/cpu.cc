#include "ec/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif

namespace nabu::ec {
namespace {

#if defined(__x86_64__)

constexpr uint64_t kAvxState = 0x6;      // XMM and YMM
constexpr uint64_t kAvx512State = 0xe6;  // and opmask, upper ZMM halves, ZMM16-31

uint64_t readXcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

CpuFeatures detect() {
  CpuFeatures f;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return f;
  f.sse42 = (c & bit_SSE4_2) != 0;
  f.pclmul = (c & bit_PCLMUL) != 0;
  const bool osxsave = (c & bit_OSXSAVE) != 0;
  const uint64_t xcr0 = osxsave ? readXcr0() : 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  const bool hasAvx2 = (b & bit_AVX2) != 0;
  const bool hasAvx512 = (b & bit_AVX512F) != 0 && (b & bit_AVX512BW) != 0 &&
                         (b & bit_AVX512VL) != 0 && (b & bit_AVX512DQ) != 0;
  f.avx2 = hasAvx2 && (xcr0 & kAvxState) == kAvxState;
  f.avx512 = hasAvx512 && (xcr0 & kAvx512State) == kAvx512State;
  f.gfni = (c & bit_GFNI) != 0;
  f.vpclmulqdq = (c & bit_VPCLMULQDQ) != 0;
  if (hasAvx2 && !f.avx2) {
    f.systemLimits = "the operating system has not enabled AVX state (XCR0)";
  } else if (hasAvx512 && !f.avx512) {
    f.systemLimits = "the operating system has not enabled AVX-512 state (XCR0)";
  }
  return f;
}

#else

CpuFeatures detect() { return {}; }

#endif

std::string missingAvx512() {
  const CpuFeatures& cpu = cpuFeatures();
  if (cpu.avx512) return {};
  return cpu.systemLimits.empty() ? "the processor has no AVX-512 (F, BW, VL, DQ)"
                                  : cpu.systemLimits;
}

}  // namespace

const CpuFeatures& cpuFeatures() {
  static const CpuFeatures features = detect();
  return features;
}

std::string missingNothing() { return {}; }

std::string missingForSse42() {
  const CpuFeatures& cpu = cpuFeatures();
  if (!cpu.sse42) return "the processor has no SSE4.2";
  return cpu.pclmul ? "" : "the processor has no PCLMULQDQ";
}

std::string missingForAvx2() {
  const CpuFeatures& cpu = cpuFeatures();
  if (cpu.avx2) return {};
  return cpu.systemLimits.empty() ? "the processor has no AVX2" : cpu.systemLimits;
}

std::string missingForGfni() {
  std::string reason = missingAvx512();
  if (!reason.empty()) return reason;
  return cpuFeatures().gfni ? "" : "the processor has no GFNI";
}

std::string missingForVpclmul() {
  std::string reason = missingAvx512();
  if (!reason.empty()) return reason;
  return cpuFeatures().vpclmulqdq ? "" : "the processor has no VPCLMULQDQ";
}

}  // namespace nabu::ec
