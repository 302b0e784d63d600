#include "volume/keeper/fuse_mount.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "volume/fuse/fuse_abi.h"

namespace nabu::volume::keeper {
namespace {

constexpr int kInitTimeoutMs = 5000;
// Requests in flight that the kernel hands out at once; more wait on its side.
constexpr std::uint16_t kMaxBackground = 64;
constexpr std::uint16_t kCongestion = 48;

Error system(const std::string& call) { return {Failure::kSystem, call, std::strerror(errno)}; }

// FUSE_INIT (include/uapi/linux/fuse.h): the first request of a connection.
Status answerInit(int fd) {
  pollfd ready{fd, POLLIN, 0};
  if (poll(&ready, 1, kInitTimeoutMs) != 1) {
    return Error{Failure::kSystem, "FUSE_INIT", "the kernel did not send it within 5 s"};
  }
  alignas(8) std::array<std::byte, 2 * FUSE_MIN_READ_BUFFER> buffer;
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got < 0) return system("reading FUSE_INIT");
  fuse_in_header head{};
  fuse_init_in in{};
  if (static_cast<std::size_t>(got) < sizeof head)
    return Error{Failure::kSystem, "FUSE_INIT", "it is too short"};
  std::memcpy(&head, buffer.data(), sizeof head);
  std::memcpy(&in, buffer.data() + sizeof head,
              std::min(sizeof in, static_cast<std::size_t>(got) - sizeof head));
  if (head.opcode != FUSE_INIT)
    return Error{Failure::kSystem, "FUSE_INIT", "another request came first"};
  const std::uint64_t offered =
      in.flags | ((in.flags & FUSE_INIT_EXT) != 0 ? std::uint64_t{in.flags2} << 32 : 0);
  if ((offered & fuse::kHasResend) == 0) {
    return Error{Failure::kSystem, "FUSE_INIT",
                 "this kernel cannot send requests again (FUSE_HAS_RESEND, Linux 6.9)"};
  }
  const std::uint64_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_INIT_EXT |
                               FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | fuse::kHasResend;
  const std::uint64_t taken = wanted & offered;
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = std::min<std::uint32_t>(in.minor, 40);  // the newest whose structures are known here
  out.max_readahead = in.max_readahead;
  out.flags = static_cast<std::uint32_t>(taken);
  out.flags2 = static_cast<std::uint32_t>(taken >> 32);
  out.max_background = kMaxBackground;
  out.congestion_threshold = kCongestion;
  out.max_write = fuse::kMaxWriteBytes;
  out.max_pages = fuse::kMaxWriteBytes / kBlockBytes;
  out.time_gran = 1;
  const fuse_out_header answer{sizeof(fuse_out_header) + sizeof out, 0, head.unique};
  const iovec parts[] = {{const_cast<fuse_out_header*>(&answer), sizeof answer},
                         {&out, sizeof out}};
  if (writev(fd, parts, 2) < 0) return system("answering FUSE_INIT");
  return Done{};
}

}  // namespace

Status checkFuseLimits() {
  for (const char* name : {"default_request_timeout", "max_request_timeout"}) {
    const std::string path = std::string("/proc/sys/fs/fuse/") + name;
    std::ifstream file(path);
    long seconds = 0;
    if (file >> seconds && seconds != 0) {
      return Error{Failure::kWrongState, "mounting a volume",
                   path + " is " + std::to_string(seconds) +
                       ": requests that wait would be given up, set it to 0"};
    }
  }
  return Done{};
}

Result<UniqueFd> mountFuse(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system("making " + path);
  UniqueFd fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fd) return system("opening /dev/fuse");
  const std::string options =
      "fd=" + std::to_string(fd.get()) +
      ",rootmode=40000,user_id=0,group_id=0,max_read=" + std::to_string(fuse::kMaxWriteBytes);
  if (mount("nabustore", path.c_str(), "fuse.nabustore",
            MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options.c_str()) != 0) {
    return system("mounting FUSE at " + path);
  }
  if (Status answered = answerInit(fd.get()); !answered.ok()) {
    (void)unmountFuse(path, true);
    return answered.error();
  }
  return fd;
}

Status unmountFuse(const std::string& path, bool force) {
  if (umount2(path.c_str(), force ? MNT_DETACH | MNT_FORCE : UMOUNT_NOFOLLOW) != 0 &&
      errno != EINVAL && errno != ENOENT) {
    return system("unmounting " + path);
  }
  rmdir(path.c_str());
  return Done{};
}

}  // namespace nabu::volume::keeper
