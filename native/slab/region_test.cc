#include "slab/region.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <utility>
#include <vector>

namespace nabu::slab {
namespace {

Region mapped(const RegionOptions& options) {
  auto result = Region::map(options);
  REQUIRE(std::holds_alternative<Region>(result));
  return std::move(std::get<Region>(result));
}

RegionFailure failure(const RegionOptions& options) {
  auto result = Region::map(options);
  REQUIRE(std::holds_alternative<RegionError>(result));
  CHECK_FALSE(std::get<RegionError>(result).reason.empty());
  return std::get<RegionError>(result).failure;
}

TEST_CASE("a region is zeroed, writable to its last byte and aligned for direct I/O") {
  const Region region = mapped({.lengthBytes = 3 * kBlockBytes, .hugePages = HugePages::kNo});
  CHECK(region.lengthBytes() == 3 * kBlockBytes);
  CHECK(region.pageSizeBytes() == kBlockBytes);
  CHECK(reinterpret_cast<std::uintptr_t>(region.bytes()) % kBlockBytes == 0);
  CHECK(region.bytes()[0] == 0);
  region.bytes()[region.lengthBytes() - 1] = 7;
  CHECK(region.bytes()[region.lengthBytes() - 1] == 7);
}

TEST_CASE("a region over a memfd has what an earlier one wrote, and cannot be longer than it") {
  const int fd = memfd_create("region", MFD_CLOEXEC);
  REQUIRE(fd >= 0);
  REQUIRE(ftruncate(fd, 3 * kBlockBytes) == 0);
  const RegionOptions options{.lengthBytes = 3 * kBlockBytes, .memoryFd = fd};
  {
    const Region region = mapped(options);
    CHECK(region.lengthBytes() == 3 * kBlockBytes);
    region.bytes()[region.lengthBytes() - 1] = 7;
  }
  CHECK(mapped(options).bytes()[3 * kBlockBytes - 1] == 7);
  CHECK(failure({.lengthBytes = 4 * kBlockBytes, .memoryFd = fd}) == RegionFailure::kNoMemory);
  ::close(fd);
  CHECK(failure(options) == RegionFailure::kNoMemory);
}

TEST_CASE("every page is resident before the region is handed out") {
  const Region region = mapped({.lengthBytes = 64 * kBlockBytes, .hugePages = HugePages::kNo});
  std::vector<unsigned char> resident(64);
  REQUIRE(::mincore(region.bytes(), region.lengthBytes(), resident.data()) == 0);
  for (const unsigned char page : resident) CHECK((page & 1) == 1);
}

TEST_CASE("asking for huge pages if there are any always gives a region and says its page size") {
  const Region region = mapped({.lengthBytes = kBlockBytes, .hugePages = HugePages::kTry});
  const bool known =
      region.pageSizeBytes() == kBlockBytes || region.pageSizeBytes() == kHugePageBytes;
  CHECK(known);
  CHECK(reinterpret_cast<std::uintptr_t>(region.bytes()) % kHugePageBytes == 0);
  CHECK(region.lengthBytes() == kBlockBytes);
}

TEST_CASE("requiring more huge pages than a machine has is refused, not replaced by small ones") {
  const std::size_t absurd = std::size_t{1} << 46U;
  CHECK(failure({.lengthBytes = absurd, .hugePages = HugePages::kRequire}) ==
        RegionFailure::kNoHugePages);
}

TEST_CASE("a length that is zero, no multiple of 4096 or beyond any address space is refused") {
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{1}, std::size_t{4097}, std::size_t{0} - kBlockBytes}) {
    CHECK(failure({.lengthBytes = length}) == RegionFailure::kBadLength);
  }
}

TEST_CASE("more memory than the address space holds is refused") {
  const std::size_t absurd = std::size_t{1} << 60U;
  CHECK(failure({.lengthBytes = absurd, .hugePages = HugePages::kNo}) == RegionFailure::kNoMemory);
}

TEST_CASE("a lock beyond the limit is refused, one within it is reported") {
  CHECK(mapped({.lengthBytes = kBlockBytes, .hugePages = HugePages::kNo, .lock = true}).locked());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_MEMLOCK, &before) == 0);
  if (::geteuid() == 0) return;  // root locks past any limit
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_MEMLOCK, &none) == 0);
  CHECK(failure({.lengthBytes = kBlockBytes, .hugePages = HugePages::kNo, .lock = true}) ==
        RegionFailure::kLockDenied);
  REQUIRE(::setrlimit(RLIMIT_MEMLOCK, &before) == 0);
}

TEST_CASE("moving a region moves its memory, and the old one unmaps nothing") {
  Region first = mapped({.lengthBytes = kBlockBytes, .hugePages = HugePages::kNo});
  first.bytes()[5] = 42;
  Region second(std::move(first));
  CHECK(second.bytes()[5] == 42);
  Region third = mapped({.lengthBytes = 2 * kBlockBytes, .hugePages = HugePages::kNo});
  third = std::move(second);
  CHECK(third.bytes()[5] == 42);
  CHECK(third.lengthBytes() == kBlockBytes);
}

}  // namespace
}  // namespace nabu::slab
