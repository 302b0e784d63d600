#include "store/uring_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace nabu::store {
namespace {

DeviceError failure(DeviceErrorCode code, const std::string& what, int error) {
  return {code, what + ": " + std::strerror(error)};
}

}  // namespace

std::variant<std::unique_ptr<UringDevice>, DeviceError> UringDevice::open(
    const UringOptions& options) {
  std::unique_ptr<UringDevice> device(new UringDevice());
  int flags = O_RDWR | O_DIRECT | O_CLOEXEC;
  device->fd_ = ::open(options.path.c_str(), flags);
  bool made = false;
  if (device->fd_ < 0 && errno == ENOENT && options.create) {
    device->fd_ = ::open(options.path.c_str(), flags | O_CREAT | O_EXCL, 0600);
    made = device->fd_ >= 0;
  }
  if (device->fd_ < 0) {
    const int error = errno;
    if (error == EINVAL) {
      return DeviceError{DeviceErrorCode::kUnavailable,
                         "the file system does not support O_DIRECT"};
    }
    return failure(error == ENOENT ? DeviceErrorCode::kNotFound : DeviceErrorCode::kIo, "open",
                   error);
  }
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options.lockWaitMs);
  bool locked = ::flock(device->fd_, LOCK_EX | LOCK_NB) == 0;
  while (!locked && errno == EWOULDBLOCK && std::chrono::steady_clock::now() < deadline) {
    ::usleep(2000);
    locked = ::flock(device->fd_, LOCK_EX | LOCK_NB) == 0;
  }
  if (!locked) {
    return DeviceError{DeviceErrorCode::kBusy, "another process has it open"};
  }
  struct stat status {};
  if (::fstat(device->fd_, &status) != 0) return failure(DeviceErrorCode::kIo, "stat", errno);
  uint64_t size = 0;
  if (S_ISBLK(status.st_mode)) {
    if (::ioctl(device->fd_, BLKGETSIZE64, &size) != 0) {
      return failure(DeviceErrorCode::kIo, "size", errno);
    }
    if (options.sizeBytes != 0 && options.sizeBytes < size) size = options.sizeBytes;
  } else if (S_ISREG(status.st_mode)) {
    device->regularFile_ = true;
    size = static_cast<uint64_t>(status.st_size);
    if (made || size == 0) {
      // Sparse: each segment is written once, ahead of its first use.
      if (::ftruncate(device->fd_, static_cast<off_t>(options.sizeBytes)) != 0) {
        return failure(DeviceErrorCode::kIo, "truncate", errno);
      }
      size = options.sizeBytes;
    }
  } else {
    return DeviceError{DeviceErrorCode::kBadArgument, "neither a regular file nor a block device"};
  }
  device->sizeBytes_ = size / 4096 * 4096;

  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE;
  params.cq_entries = options.depth * 4;
  const int made_ring = io_uring_queue_init_params(options.depth, &device->ring_, &params);
  if (made_ring < 0) return failure(DeviceErrorCode::kUnavailable, "io_uring", -made_ring);
  device->ringMade_ = true;
  device->ringLimit_ = options.depth * 4;
  device->eventFd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (device->eventFd_ < 0) return failure(DeviceErrorCode::kUnavailable, "eventfd", errno);
  const int registered = io_uring_register_eventfd(&device->ring_, device->eventFd_);
  if (registered < 0)
    return failure(DeviceErrorCode::kUnavailable, "io_uring eventfd", -registered);
  return device;
}

UringDevice::~UringDevice() {
  if (ringMade_) io_uring_queue_exit(&ring_);
  if (eventFd_ >= 0) ::close(eventFd_);
  if (fd_ >= 0) ::close(fd_);
}

bool UringDevice::prepare(IoRequest& request) {
  if (inRing_ >= ringLimit_) return false;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return false;
  }
  switch (request.kind) {
    case IoKind::kRead:
      io_uring_prep_readv(entry, fd_, request.iov, request.iovCount, request.offset);
      break;
    case IoKind::kWrite:
      io_uring_prep_writev2(entry, fd_, request.iov, request.iovCount, request.offset,
                            request.durable ? RWF_DSYNC : 0);
      break;
    case IoKind::kFlush:
      io_uring_prep_fsync(entry, fd_, IORING_FSYNC_DATASYNC);
      break;
  }
  io_uring_sqe_set_data(entry, &request);
  ++inRing_;
  unsubmitted_ = true;
  return true;
}

void UringDevice::enqueue(IoRequest& request) {
  request.next = nullptr;
  if (tail_ != nullptr) {
    tail_->next = &request;
  } else {
    head_ = &request;
  }
  tail_ = &request;
}

void UringDevice::submit(IoRequest& request) {
  request.transferred = 0;
  ++inFlight_;
  if (head_ != nullptr || !prepare(request)) enqueue(request);
}

void UringDevice::kick() {
  while (head_ != nullptr) {
    IoRequest* next = head_->next;
    if (!prepare(*head_)) break;
    head_ = next;
    if (head_ == nullptr) tail_ = nullptr;
  }
  if (!unsubmitted_) return;
  // EBUSY and EAGAIN leave the entries in the ring; the next kick, after a poll, takes them along.
  if (io_uring_submit(&ring_) >= 0) unsubmitted_ = io_uring_sq_ready(&ring_) != 0;
}

void UringDevice::finish(IoRequest& request, int result) {
  if (result == -EINTR || result == -EAGAIN) {
    enqueue(request);
    return;
  }
  if (result < 0 || request.kind == IoKind::kFlush) {
    request.result = result < 0 ? result : 0;
  } else {
    const uint64_t length = request.lengthBytes();
    if (static_cast<uint64_t>(result) < length) {
      // What is left goes on; a transfer of nothing is the end of the device.
      if (result == 0) {
        request.result = request.kind == IoKind::kWrite ? -ENOSPC : -EIO;
      } else {
        uint64_t done = static_cast<uint64_t>(result);
        request.offset += done;
        for (int i = 0; i < request.iovCount && done > 0; ++i) {
          const uint64_t part = std::min<uint64_t>(done, request.iov[i].iov_len);
          request.iov[i].iov_base = static_cast<uint8_t*>(request.iov[i].iov_base) + part;
          request.iov[i].iov_len -= part;
          done -= part;
        }
        enqueue(request);
        return;
      }
    } else {
      request.result = 0;
    }
  }
  --inFlight_;
  request.complete(&request);
}

size_t UringDevice::poll() {
  uint64_t drained = 0;
  // Only resets the counter; EAGAIN when nothing was signalled is as good.
  [[maybe_unused]] const ssize_t got = ::read(eventFd_, &drained, sizeof drained);
  size_t count = 0;
  io_uring_cqe* batch[64];
  // Bounded: completions that submit again must not hold the caller's loop for ever.
  for (int round = 0; round < 8; ++round) {
    const unsigned ready = io_uring_peek_batch_cqe(&ring_, batch, 64);
    if (ready == 0) break;
    struct Ended {
      IoRequest* request;
      int result;
    } ended[64];
    for (unsigned i = 0; i < ready; ++i) {
      ended[i] = {static_cast<IoRequest*>(io_uring_cqe_get_data(batch[i])), batch[i]->res};
    }
    io_uring_cq_advance(&ring_, ready);
    inRing_ -= ready;
    for (unsigned i = 0; i < ready; ++i) finish(*ended[i].request, ended[i].result);
    count += ready;
  }
  kick();
  return count;
}

bool UringDevice::wait() {
  kick();
  if (inFlight_ == 0) return false;
  io_uring_cqe* entry = nullptr;
  int result = 0;
  do {
    result = io_uring_wait_cqe(&ring_, &entry);
  } while (result == -EINTR);
  return result == 0;
}

bool UringDevice::ready() const { return io_uring_cq_ready(&ring_) != 0; }

}  // namespace nabu::store
