// The peer of the volume benchmarks: the same FUSE and loop path, the same threads and buffers,
// with a file that is nothing but memory. usage: fuse-memory FOLDER SIZE_BYTES THREADS [HOP_PORT];
// prints the loop device, serves until SIGTERM. With a port, reads of 4 KiB take one hop more, to
// `bench_fan_out serve 4096` and back.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "volume/core/locked_memory.h"
#include "volume/fuse/request_slots.h"
#include "volume/keeper/fuse_mount.h"
#include "volume/keeper/loop_device.h"

namespace {

using namespace nabu::volume;

/** One thread's connection to a process that sends 4 KiB when asked. */
class Hop {
 public:
  explicit Hop(std::uint16_t port) : fd_(port == 0 ? -1 : socket(AF_INET, SOCK_STREAM, 0)) {
    if (fd_ < 0) return;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      std::perror("fuse-memory: hop");
      std::exit(1);
    }
  }

  bool there() const { return fd_ >= 0; }

  /** The block, or null when the other side is gone. */
  const std::byte* fetch() {
    const std::uint32_t ask[4] = {1, 0, 0, kBlockBytes};
    if (send(fd_, ask, sizeof ask, MSG_NOSIGNAL) != sizeof ask) return nullptr;
    if (recv(fd_, answer_, sizeof answer_, MSG_WAITALL) != sizeof answer_) return nullptr;
    return answer_ + sizeof ask;
  }

 private:
  int fd_;
  std::byte answer_[4 * sizeof(std::uint32_t) + kBlockBytes];
};

class MemoryFile {
 public:
  MemoryFile(int fd, std::size_t sizeBytes, std::uint16_t hopPort)
      : fd_(fd), memory_(sizeBytes), hopPort_(hopPort) {}
  bool ready() const { return memory_.bytes() != nullptr; }

  void serve() {
    Hop hop(hopPort_);
    LockedMemory buffer(fuse::Slot::kDataAt + fuse::kMaxWriteBytes);
    std::byte* at = buffer.bytes() + fuse::Slot::kDataAt - fuse::kWriteHeadBytes;
    while (true) {
      const ssize_t got = read(fd_, at, fuse::kWriteHeadBytes + fuse::kMaxWriteBytes);
      if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
      if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
      answer(at, hop);
    }
  }

 private:
  void answer(const std::byte* at, Hop& hop) {
    fuse_in_header head;
    std::memcpy(&head, at, sizeof head);
    const std::byte* body = at + sizeof head;
    switch (head.opcode) {
      case FUSE_READ: {
        fuse_read_in in;
        std::memcpy(&in, body, sizeof in);
        if (in.offset > memory_.lengthBytes() || in.size > memory_.lengthBytes() - in.offset) {
          return reply(head, EINVAL, nullptr, 0);
        }
        if (hop.there() && in.size == kBlockBytes) {
          const std::byte* block = hop.fetch();
          return block == nullptr ? reply(head, EIO, nullptr, 0) : reply(head, 0, block, in.size);
        }
        return reply(head, 0, memory_.bytes() + in.offset, in.size);
      }
      case FUSE_WRITE: {
        fuse_write_in in;
        std::memcpy(&in, body, sizeof in);
        if (in.offset > memory_.lengthBytes() || in.size > memory_.lengthBytes() - in.offset) {
          return reply(head, EINVAL, nullptr, 0);
        }
        std::memcpy(memory_.bytes() + in.offset, body + sizeof in, in.size);
        const fuse_write_out out{in.size, 0};
        return reply(head, 0, &out, sizeof out);
      }
      case FUSE_LOOKUP: {
        fuse_entry_out out{};
        out.nodeid = fuse::kBlockNode;
        out.entry_valid = 3600;
        out.attr = attributes(fuse::kBlockNode);
        return reply(head, 0, &out, sizeof out);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(head.nodeid);
        return reply(head, 0, &out, sizeof out);
      }
      case FUSE_OPEN: {
        fuse_open_out out{};
        out.open_flags = FOPEN_DIRECT_IO | fuse::kOpenParallelDirectWrites;
        return reply(head, 0, &out, sizeof out);
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
        return;
      case FUSE_FSYNC:
      case FUSE_FLUSH:
      case FUSE_RELEASE:
        return reply(head, 0, nullptr, 0);
      default:
        return reply(head, ENOSYS, nullptr, 0);
    }
  }

  fuse_attr attributes(std::uint64_t node) const {
    fuse_attr attr{};
    attr.ino = node;
    attr.mode = node == fuse::kBlockNode ? S_IFREG | 0600 : S_IFDIR | 0700;
    attr.nlink = 1;
    attr.size = node == fuse::kBlockNode ? memory_.lengthBytes() : 0;
    attr.blksize = kBlockBytes;
    return attr;
  }

  void reply(const fuse_in_header& to, int error, const void* body, std::size_t length) const {
    const fuse_out_header head{static_cast<std::uint32_t>(sizeof(fuse_out_header) + length), -error,
                               to.unique};
    const iovec parts[] = {{const_cast<fuse_out_header*>(&head), sizeof head},
                           {const_cast<void*>(body), length}};
    (void)!writev(fd_, parts, length == 0 ? 1 : 2);
  }

  int fd_;
  LockedMemory memory_;
  std::uint16_t hopPort_;
};

int fail(const Error& error) {
  std::fprintf(stderr, "fuse-memory: %s: %s\n", error.subject.c_str(), error.reason.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 64;
  const std::string folder = argv[1];
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  auto mounted = keeper::mountFuse(folder);
  if (!mounted.ok()) return fail(mounted.error());
  const auto hopPort = static_cast<std::uint16_t>(argc == 5 ? std::atoi(argv[4]) : 0);
  MemoryFile file(mounted.value().get(), std::strtoull(argv[2], nullptr, 10), hopPort);
  if (!file.ready()) return fail({Failure::kNoRoom, "memory", "cannot be mapped"});
  for (int i = std::atoi(argv[3]); i > 0; --i) std::thread([&] { file.serve(); }).detach();
  auto loop = keeper::attachLoop(folder + "/block", false);
  if (!loop.ok()) return fail(loop.error());
  std::printf("%s\n", loop.value().path.c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ending, &signal);
  const auto detached = keeper::detachLoop(std::move(loop.value()), folder + "/block");
  (void)keeper::unmountFuse(folder, true);
  std::_Exit(detached.ok() ? 0 : fail(detached.error()));
}
