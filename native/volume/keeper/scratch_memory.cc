#include "volume/keeper/scratch_memory.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace nabu::volume::keeper {
namespace {
constexpr std::size_t kMaxName = 64;
constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 30;
}  // namespace

Result<int> ScratchMemory::get(const std::string& name, std::uint64_t bytes) {
  if (name.empty() || name.size() > kMaxName) {
    return Error{Failure::kBadArgument, "name", "is empty or too long"};
  }
  if (bytes == 0 || bytes % kBlockBytes != 0 || bytes > kMaxBytes) {
    return Error{Failure::kBadArgument, "bytes", "is not a multiple of 4096 up to 64 GiB"};
  }
  const auto found = kept_.find(name);
  if (found != kept_.end() && found->second.bytes == bytes) return found->second.memory.get();
  if (found == kept_.end() && kept_.size() >= maxNames_) {
    return Error{Failure::kNoRoom, "scratch memory", "too much is kept already"};
  }
  UniqueFd memory(memfd_create("nabu-scratch", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory || ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0) {
    return Error{Failure::kSystem, "memfd_create", std::strerror(errno)};
  }
  // Nobody may cut the mapping of a server short.
  fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  const int fd = memory.get();
  kept_[name] = Kept{bytes, std::move(memory)};
  return fd;
}

}  // namespace nabu::volume::keeper
