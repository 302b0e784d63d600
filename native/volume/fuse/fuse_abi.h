#pragma once

#include <linux/fuse.h>

#include <cstdint>

// What Debian 12's <linux/fuse.h> (protocol 7.38) lacks of the kernel ABI
// (include/uapi/linux/fuse.h, 7.40).
namespace nabu::volume::fuse {

inline constexpr std::int32_t kNotifyResend = 7;  // FUSE_NOTIFY_RESEND
inline constexpr std::uint64_t kHasResend = std::uint64_t{1}
                                            << 39;  // FUSE_HAS_RESEND, with FUSE_INIT_EXT
inline constexpr std::uint64_t kUniqueResend = std::uint64_t{1} << 63;
inline constexpr std::uint32_t kOpenParallelDirectWrites = 1U << 6;  // FOPEN_PARALLEL_DIRECT_WRITES

inline constexpr std::uint64_t kRootNode = FUSE_ROOT_ID;
inline constexpr std::uint64_t kBlockNode = 2;  // the one file of a mount
inline constexpr char kBlockName[] = "block";
inline constexpr std::uint32_t kMaxWriteBytes = 1 << 20;

// A write arrives as header, fuse_write_in, data.
inline constexpr std::size_t kWriteHeadBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kWriteHeadBytes == 80);

}  // namespace nabu::volume::fuse
