#include "slab/region.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14, newer than some libc headers
#endif

namespace nabu::slab {
namespace {

std::size_t roundUp(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Faults every page in for writing. MAP_POPULATE would hide a failure until the first access.
bool populate(std::uint8_t* bytes, std::size_t length) {
  if (::madvise(bytes, length, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  for (std::size_t at = 0; at < length; at += kBlockBytes) {
    *const_cast<volatile std::uint8_t*>(bytes + at) = 0;
  }
  return true;
}

std::optional<std::uint8_t*> mapAnonymous(std::size_t length, int flags) {
  void* at =
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (at == MAP_FAILED) return std::nullopt;
  return static_cast<std::uint8_t*>(at);
}

// Base pages, yet aligned to 2 MiB so that transparent huge pages can back all of it.
std::optional<std::uint8_t*> mapAligned(std::size_t length) {
  const auto start = mapAnonymous(length + kHugePageBytes, 0);
  if (!start) return std::nullopt;
  const auto address = reinterpret_cast<std::uintptr_t>(*start);
  const std::size_t head = roundUp(address, kHugePageBytes) - address;
  if (head > 0) ::munmap(*start, head);
  ::munmap(*start + head + length, kHugePageBytes - head);
  return *start + head;
}

// The same over a memfd; what is in it stays.
std::optional<std::uint8_t*> mapShared(std::size_t length, int fd) {
  const auto start = mapAligned(length);
  if (!start) return std::nullopt;
  void* at = ::mmap(*start, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (at != MAP_FAILED) return start;
  const int error = errno;
  ::munmap(*start, length);
  errno = error;
  return std::nullopt;
}

std::string describe(int error) { return std::strerror(error); }

}  // namespace

std::variant<Region, RegionError> Region::map(const RegionOptions& options) {
  const std::size_t length = options.lengthBytes;
  constexpr std::size_t kLongest = std::numeric_limits<std::int64_t>::max() / 2;
  if (length == 0 || length % kBlockBytes != 0 || length > kLongest) {
    return RegionError{RegionFailure::kBadLength, "must be a positive multiple of 4096"};
  }
  std::optional<Region> region;
  if (options.memoryFd < 0 && options.hugePages != HugePages::kNo) {
    const std::size_t mapped = roundUp(length, kHugePageBytes);
    const auto bytes = mapAnonymous(mapped, MAP_HUGETLB | (21 << MAP_HUGE_SHIFT));
    if (bytes) {
      region = Region(*bytes, length, mapped, kHugePageBytes);
    } else if (options.hugePages == HugePages::kRequire) {
      return RegionError{RegionFailure::kNoHugePages,
                         "too few free 2 MiB pages (raise vm.nr_hugepages): " + describe(errno)};
    }
  }
  if (!region) {
    const auto bytes =
        options.memoryFd < 0 ? mapAligned(length) : mapShared(length, options.memoryFd);
    if (!bytes) return RegionError{RegionFailure::kNoMemory, describe(errno)};
    region = Region(*bytes, length, length, kBlockBytes);
    const int advice = options.hugePages == HugePages::kNo ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
    // Advice only: kernels without transparent huge pages refuse it and lose nothing but speed.
    ::madvise(*bytes, length, advice);
  }
  if (!populate(region->bytes_, region->mappedBytes_)) {
    return RegionError{RegionFailure::kNoMemory, describe(errno)};
  }
  if (options.lock) {
    if (::mlock(region->bytes_, region->mappedBytes_) != 0) {
      return RegionError{RegionFailure::kLockDenied,
                         "raise RLIMIT_MEMLOCK or grant CAP_IPC_LOCK: " + describe(errno)};
    }
    region->locked_ = true;
  }
  return std::move(*region);
}

Region::Region(Region&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)),
      lengthBytes_(std::exchange(other.lengthBytes_, 0)),
      mappedBytes_(std::exchange(other.mappedBytes_, 0)),
      pageSizeBytes_(other.pageSizeBytes_),
      locked_(other.locked_) {}

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, nullptr);
    lengthBytes_ = std::exchange(other.lengthBytes_, 0);
    mappedBytes_ = std::exchange(other.mappedBytes_, 0);
    pageSizeBytes_ = other.pageSizeBytes_;
    locked_ = other.locked_;
  }
  return *this;
}

Region::~Region() { unmap(); }

void Region::unmap() noexcept {
  if (bytes_ != nullptr) ::munmap(bytes_, mappedBytes_);
  bytes_ = nullptr;
}

}  // namespace nabu::slab
