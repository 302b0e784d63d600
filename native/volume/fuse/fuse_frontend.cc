#include "volume/fuse/fuse_frontend.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "volume/core/clock.h"

namespace nabu::volume::fuse {
namespace {

// Parked writes of 1 MiB that do not keep the threads from reading on, and parked small requests.
constexpr std::size_t kLargeSlots = 16;
constexpr std::size_t kSmallSlots = 64;
constexpr auto kExpiryPeriod = std::chrono::milliseconds(50);
constexpr std::uint64_t kNameValidSeconds = 3600;  // the one name never changes

// Only there to end a read(2): a handler, because an ignored signal interrupts nothing.
int wakeSignal() { return SIGRTMIN + 4; }
void onWake(int) {}
void installWakeHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = onWake;
    sigaction(wakeSignal(), &action, nullptr);
  });
}

template <class T>
T bodyOf(const Slot& slot) {
  T body;
  std::memcpy(&body, slot.requestAt() + sizeof(fuse_in_header), sizeof body);
  return body;
}

}  // namespace

std::size_t FuseFrontend::memoryBytes(int threads) {
  return RequestSlots::memoryBytes(kLargeSlots + static_cast<std::size_t>(threads), kSmallSlots);
}

Result<std::unique_ptr<FuseFrontend>> FuseFrontend::create(Volume& volume, int fuseFd, int threads,
                                                           SharedMemory memory,
                                                           std::function<void(int)> onClosed) {
  if (threads < 1 || threads >= WriteRing::kReaders) {
    return Error{Failure::kBadArgument, "threads", "must be from 1 to 15"};
  }
  const int fd = fcntl(fuseFd, F_DUPFD_CLOEXEC, 3);
  if (fd < 0)
    return Error{Failure::kSystem, "duplicating the FUSE descriptor", std::strerror(errno)};
  std::unique_ptr<FuseFrontend> frontend(
      new FuseFrontend(volume, fd, threads, std::move(onClosed)));
  frontend->slots_ =
      RequestSlots::create(kLargeSlots + static_cast<std::size_t>(threads), kSmallSlots, memory);
  if (frontend->slots_ == nullptr) {
    return Error{Failure::kNoRoom, "memory", "the request buffers cannot be mapped"};
  }
  return frontend;
}

FuseFrontend::FuseFrontend(Volume& volume, int fd, int threads, std::function<void(int)> onClosed)
    : volume_(volume), fd_(fd), threadCount_(threads), onClosed_(std::move(onClosed)) {}

FuseFrontend::~FuseFrontend() {
  stop();
  close(fd_);
}

Status FuseFrontend::start() {
  installWakeHandler();
  const fuse_out_header resend{sizeof(fuse_out_header), kNotifyResend, 0};
  if (write(fd_, &resend, sizeof resend) != static_cast<ssize_t>(sizeof resend)) {
    return Error{Failure::kSystem, "FUSE_NOTIFY_RESEND (needs Linux 6.9)", std::strerror(errno)};
  }
  running_.store(threadCount_);
  for (int i = 0; i < threadCount_; ++i) threads_.emplace_back([this, i] { serve(i + 1); });
  expiry_ = std::thread([this] { expire(); });
  return Done{};
}

void FuseFrontend::stop() {
  if (stopping_.exchange(true)) return;
  if (slots_) slots_->stop();
  // The signal may come between a thread's look at stopping_ and its read: again until they are
  // gone.
  while (running_.load() > 0) {
    for (auto& thread : threads_) pthread_kill(thread.native_handle(), wakeSignal());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  wakeExpiry();
  if (expiry_.joinable()) expiry_.join();
}

void FuseFrontend::wakeExpiry() {
  { const std::lock_guard lock(expiryMutex_); }
  expiryWake_.notify_all();
}

void FuseFrontend::expire() {
  std::unique_lock lock(expiryMutex_);
  while (!stopping_.load()) {
    if (volume_.ioTimeoutNs() == 0) {
      expiryWake_.wait(lock);
      continue;
    }
    expiryWake_.wait_for(lock, kExpiryPeriod);
    lock.unlock();
    volume_.expire(monotonicNs());
    lock.lock();
  }
}

void FuseFrontend::serve(int reader) {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, wakeSignal());
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  Slot* slot = slots_->take(kMaxWriteBytes);
  while (slot != nullptr && !stopping_.load(std::memory_order_relaxed)) {
    const ssize_t got = read(fd_, slot->requestAt(), kWriteHeadBytes + kMaxWriteBytes);
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN || errno == ENOENT) continue;  // ENOENT: withdrawn
      const int error = errno;
      if (!closedSaid_.exchange(true)) onClosed_(error);
      break;
    }
    if (static_cast<std::size_t>(got) < sizeof(fuse_in_header)) continue;
    slot = dispatch(slot, static_cast<std::size_t>(got), reader);
  }
  running_.fetch_sub(1);
}

Slot* FuseFrontend::dispatch(Slot* slot, std::size_t length, int reader) {
  fuse_in_header head;
  std::memcpy(&head, slot->requestAt(), sizeof head);
  const bool resent = (head.unique & kUniqueResend) != 0;
  switch (head.opcode) {
    case FUSE_READ:
      doRead(*slot, head, reader);
      return slot;
    case FUSE_WRITE:
      return doWrite(slot, head, length, resent);
    case FUSE_FSYNC:
    case FUSE_FLUSH:
      doFlush(head);
      return slot;
    case FUSE_FALLOCATE:
      doFallocate(*slot, head, resent);
      return slot;
    case FUSE_LOOKUP:
      doLookup(*slot, head, length);
      return slot;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      return slot;  // no answer
    default:
      doOther(*slot, head);
      return slot;
  }
}

void FuseFrontend::doRead(Slot& slot, const fuse_in_header& head, int reader) {
  const auto in = bodyOf<fuse_read_in>(slot);
  if (head.nodeid != kBlockNode) return reply(head.unique, EISDIR, nullptr, 0);
  if (in.offset % kBlockBytes != 0 || in.size % kBlockBytes != 0 || in.size > kMaxWriteBytes) {
    return reply(head.unique, EINVAL, nullptr, 0);
  }
  const std::uint64_t size = volume_.sizeBytes();
  const std::uint64_t bytes =
      in.offset >= size ? 0 : std::min<std::uint64_t>(in.size, size - in.offset);
  if (bytes == 0) return reply(head.unique, 0, nullptr, 0);
  const std::uint64_t block = in.offset / kBlockBytes;
  const auto count = static_cast<std::uint32_t>(bytes / kBlockBytes);
  const int error = volume_.tryRead(block, count, slot.data(), reader);
  if (error == 0) {
    slot.fuseUnique = head.unique;
    return replyInPlace(slot, bytes);
  }
  if (error != Volume::kMustWait) return reply(head.unique, error, nullptr, 0);
  Slot* parked = slots_->take(bytes);
  if (parked == nullptr) return;  // stopping: a later server is asked again
  parked->op = RequestOp::kRead;
  parked->block = block;
  parked->count = count;
  parked->bytes = parked->data();
  parked->sink = this;
  parked->fuseUnique = head.unique;
  volume_.read(*parked, reader);
}

Slot* FuseFrontend::doWrite(Slot* slot, const fuse_in_header& head, std::size_t length,
                            bool resent) {
  const auto in = bodyOf<fuse_write_in>(*slot);
  const std::uint64_t size = volume_.sizeBytes();
  int error = 0;
  if (head.nodeid != kBlockNode || length != kWriteHeadBytes + in.size ||
      in.size > kMaxWriteBytes) {
    error = EIO;
  } else if (in.offset % kBlockBytes != 0 || in.size % kBlockBytes != 0 || in.size == 0) {
    error = EINVAL;
  } else if (in.offset > size || in.size > size - in.offset) {
    error = ENOSPC;
  }
  if (error != 0) {
    reply(head.unique, error, nullptr, 0);
    return slot;
  }
  slot->op = RequestOp::kWrite;
  slot->block = in.offset / kBlockBytes;
  slot->count = in.size / kBlockBytes;
  slot->unique = head.unique & ~kUniqueResend;
  slot->fuseUnique = head.unique;
  slot->bytes = slot->data();
  slot->sink = this;
  error = volume_.tryWrite(*slot, resent);
  if (error != Volume::kMustWait) {
    answer(*slot, error);
    return slot;
  }
  // The data stays where it is: the thread goes on with another slot.
  Slot* next = slots_->take(kMaxWriteBytes);
  if (next == nullptr) return nullptr;
  volume_.write(*slot);
  return next;
}

void FuseFrontend::doFlush(const fuse_in_header& head) {
  const int error = volume_.tryFlush();
  if (error != Volume::kMustWait) return reply(head.unique, error, nullptr, 0);
  Slot* parked = slots_->take(0);
  if (parked == nullptr) return;
  parked->op = RequestOp::kFlush;
  parked->sink = this;
  parked->fuseUnique = head.unique;
  volume_.flush(*parked);
}

void FuseFrontend::doFallocate(Slot& slot, const fuse_in_header& head, bool resent) {
  const auto in = bodyOf<fuse_fallocate_in>(slot);
  const bool punch = in.mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  const bool zero =
      (in.mode & ~static_cast<std::uint32_t>(FALLOC_FL_KEEP_SIZE)) == FALLOC_FL_ZERO_RANGE;
  const std::uint64_t size = volume_.sizeBytes();
  if (head.nodeid != kBlockNode || !(punch || zero) || in.offset % kBlockBytes != 0 ||
      in.length % kBlockBytes != 0) {
    return reply(head.unique, EOPNOTSUPP, nullptr, 0);
  }
  if (in.offset > size || in.length > size - in.offset || in.length == 0) {
    return reply(head.unique, EINVAL, nullptr, 0);
  }
  Slot* parked = slots_->take(0);
  if (parked == nullptr) return;
  parked->op = RequestOp::kTrim;
  parked->block = in.offset / kBlockBytes;
  parked->count = in.length / kBlockBytes;
  parked->unique = head.unique & ~kUniqueResend;
  parked->fuseUnique = head.unique;
  parked->sink = this;
  const int error = volume_.tryWrite(*parked, resent);
  if (error == Volume::kMustWait) return volume_.write(*parked);
  answer(*parked, error);
  release(*parked);
}

fuse_attr FuseFrontend::attributes(std::uint64_t node) const {
  fuse_attr attr{};
  attr.ino = node;
  attr.nlink = 1;
  attr.blksize = kBlockBytes;
  if (node == kBlockNode) {
    attr.mode = S_IFREG | 0600;
    attr.size = volume_.sizeBytes();
    attr.blocks = attr.size / 512;
  } else {
    attr.mode = S_IFDIR | 0700;
    attr.nlink = 2;
  }
  return attr;
}

void FuseFrontend::doLookup(Slot& slot, const fuse_in_header& head, std::size_t length) {
  const std::size_t nameLength = length - sizeof(fuse_in_header);
  const auto* name = reinterpret_cast<const char*>(slot.requestAt() + sizeof(fuse_in_header));
  if (head.nodeid != kRootNode || nameLength != sizeof kBlockName ||
      std::memcmp(name, kBlockName, sizeof kBlockName) != 0) {
    return reply(head.unique, ENOENT, nullptr, 0);
  }
  fuse_entry_out out{};
  out.nodeid = kBlockNode;
  out.entry_valid = kNameValidSeconds;
  out.attr = attributes(kBlockNode);  // attr_valid 0: the size is asked for each time
  reply(head.unique, 0, &out, sizeof out);
}

void FuseFrontend::doOther(Slot&, const fuse_in_header& head) {
  switch (head.opcode) {
    case FUSE_GETATTR: {
      if (head.nodeid != kRootNode && head.nodeid != kBlockNode) {
        return reply(head.unique, ENOENT, nullptr, 0);
      }
      fuse_attr_out out{};
      out.attr = attributes(head.nodeid);
      return reply(head.unique, 0, &out, sizeof out);
    }
    case FUSE_OPEN: {
      fuse_open_out out{};
      out.open_flags = FOPEN_DIRECT_IO | kOpenParallelDirectWrites;
      return reply(head.unique, head.nodeid == kBlockNode ? 0 : EISDIR, &out, sizeof out);
    }
    case FUSE_OPENDIR: {
      const fuse_open_out out{};
      return reply(head.unique, 0, &out, sizeof out);
    }
    case FUSE_STATFS: {
      fuse_statfs_out out{};
      out.st.bsize = out.st.frsize = kBlockBytes;
      out.st.blocks = volume_.sizeBytes() / kBlockBytes;
      out.st.namelen = 255;
      return reply(head.unique, 0, &out, sizeof out);
    }
    case FUSE_READDIR:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FSYNCDIR:
      return reply(head.unique, 0, nullptr, 0);
    case FUSE_SETATTR:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_LINK:
    case FUSE_SYMLINK:
      return reply(head.unique, EPERM, nullptr, 0);
    default:
      // The kernel takes this as "never ask again", for INTERRUPT too.
      return reply(head.unique, ENOSYS, nullptr, 0);
  }
}

void FuseFrontend::reply(std::uint64_t unique, int error, const void* body,
                         std::size_t length) const {
  if (error != 0) length = 0;
  const fuse_out_header head{static_cast<std::uint32_t>(sizeof(fuse_out_header) + length), -error,
                             unique};
  const iovec parts[] = {{const_cast<fuse_out_header*>(&head), sizeof head},
                         {const_cast<void*>(body), length}};
  // ENOENT: the request was withdrawn. Anything else means that the connection is gone, which
  // read() tells.
  (void)!writev(fd_, parts, length == 0 ? 1 : 2);
}

void FuseFrontend::replyInPlace(Slot& slot, std::size_t length) const {
  const fuse_out_header head{static_cast<std::uint32_t>(sizeof(fuse_out_header) + length), 0,
                             slot.fuseUnique};
  std::memcpy(slot.replyAt(), &head, sizeof head);
  (void)!write(fd_, slot.replyAt(), sizeof head + length);
}

void FuseFrontend::answer(Request& request, int error) {
  auto& slot = static_cast<Slot&>(request);
  if (error == ECANCELED) return;  // closing: stays unanswered, a later server is asked again
  if (error != 0) return reply(slot.fuseUnique, error, nullptr, 0);
  switch (slot.op) {
    case RequestOp::kRead:
      return replyInPlace(slot, slot.count * kBlockBytes);
    case RequestOp::kWrite: {
      fuse_write_out out{};
      out.size = static_cast<std::uint32_t>(slot.count * kBlockBytes);
      return reply(slot.fuseUnique, 0, &out, sizeof out);
    }
    case RequestOp::kTrim:
    case RequestOp::kFlush:
      return reply(slot.fuseUnique, 0, nullptr, 0);
  }
}

// The slab is locked memory like our own, so the kernel may copy from it.
bool FuseFrontend::answerFrom(Request& request, const std::byte* bytes) {
  reply(static_cast<Slot&>(request).fuseUnique, 0, bytes, request.count * kBlockBytes);
  return true;
}

void FuseFrontend::release(Request& request) { slots_->give(static_cast<Slot&>(request)); }

}  // namespace nabu::volume::fuse
