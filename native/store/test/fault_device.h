#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "store/device.h"

namespace nabu::store::test {

/** What is on the platters. Outlives the devices that are opened on it. */
struct Disk {
  explicit Disk(uint64_t sizeBytes) : bytes(sizeBytes) {}
  std::vector<uint8_t> bytes;
  std::set<uint64_t> badBlocks;  // reads of these 4 KiB fail
  int writeError = 0;            // every write fails with this
  uint64_t room = UINT64_MAX;    // writes beyond find the file system full
};

/**
 * Memory with the habits of a disk: completed writes without a flush may be lost at a crash, in any
 * combination and cut anywhere; completions come in a seeded order.
 */
class FaultDevice final : public Device {
 public:
  FaultDevice(std::shared_ptr<Disk> disk, uint64_t seed)
      : disk_(std::move(disk)), view_(disk_->bytes), random_(seed) {}

  uint64_t sizeBytes() const override { return view_.size(); }
  bool wantsFirstWrite() const override { return true; }
  bool volatileCache() const override { return true; }
  void submit(IoRequest& request) override { queue_.push_back({&request, 0}); }
  void kick() override {}
  bool wait() override { return !queue_.empty(); }
  size_t inFlight() const override { return queue_.size(); }
  int eventFd() const override { return -1; }
  bool ready() const override { return !queue_.empty(); }

  size_t poll() override {
    // At least one, at random which: records are acknowledged out of order.
    size_t count = 0;
    const size_t most = queue_.size();
    while (!queue_.empty() && count < most) {
      const size_t which = shuffle ? random_() % queue_.size() : 0;
      IoRequest* request = queue_[which].request;
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(which));
      perform(*request);
      ++count;
      request->complete(request);
      if (shuffle && random_() % 3 == 0) break;
    }
    return count;
  }

  /**
   * The power goes: of what was not flushed, completed or in flight, any part may have reached the
   * platters, cut at any byte.
   */
  void crash() {
    std::vector<Pending> lost = unflushed_;
    for (const Queued& queued : queue_) {
      if (queued.request->kind == IoKind::kWrite) lost.push_back(bytesOf(*queued.request));
    }
    std::shuffle(lost.begin(), lost.end(), random_);
    for (const Pending& write : lost) {
      const uint64_t fate = random_() % 4;
      if (fate == 0) continue;
      uint64_t from = 0, to = write.bytes.size();
      if (fate == 2) to = random_() % (write.bytes.size() + 1);
      if (fate == 3) from = random_() % (write.bytes.size() + 1);
      std::memcpy(disk_->bytes.data() + write.offset + from, write.bytes.data() + from, to - from);
    }
    crashed_ = true;
  }

  bool shuffle = true;

 private:
  struct Queued {
    IoRequest* request;
    uint64_t at;
  };
  struct Pending {
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };
  static Pending bytesOf(const IoRequest& request) {
    Pending write{request.offset, {}};
    for (int i = 0; i < request.iovCount; ++i) {
      const auto* from = static_cast<const uint8_t*>(request.iov[i].iov_base);
      write.bytes.insert(write.bytes.end(), from, from + request.iov[i].iov_len);
    }
    return write;
  }
  void settle() {
    for (const Pending& write : unflushed_) {
      std::memcpy(disk_->bytes.data() + write.offset, write.bytes.data(), write.bytes.size());
    }
    unflushed_.clear();
  }
  void perform(IoRequest& request) {
    request.result = 0;
    if (crashed_) {
      request.result = -EIO;
      return;
    }
    if (request.kind == IoKind::kFlush) {
      settle();
      return;
    }
    if (request.offset + request.lengthBytes() > view_.size()) {
      request.result = -ENOSPC;
      return;
    }
    if (request.kind == IoKind::kWrite) {
      if (disk_->writeError != 0) {
        request.result = disk_->writeError;
        return;
      }
      if (request.offset + request.lengthBytes() > disk_->room) {
        request.result = -ENOSPC;
        return;
      }
      Pending write = bytesOf(request);
      std::memcpy(view_.data() + write.offset, write.bytes.data(), write.bytes.size());
      for (uint64_t b = write.offset / 4096; b < (write.offset + write.bytes.size()) / 4096; ++b) {
        disk_->badBlocks.erase(b);  // a written sector is remapped
      }
      // As the kernel does it: a durable write flushes what completed before it.
      const bool durable = request.durable;
      unflushed_.push_back(std::move(write));
      if (durable) settle();
      return;
    }
    uint64_t at = request.offset;
    for (int i = 0; i < request.iovCount; ++i) {
      for (uint64_t b = at / 4096; b < (at + request.iov[i].iov_len + 4095) / 4096; ++b) {
        if (disk_->badBlocks.contains(b)) request.result = -EIO;
      }
      std::memcpy(request.iov[i].iov_base, view_.data() + at, request.iov[i].iov_len);
      at += request.iov[i].iov_len;
    }
  }

  std::shared_ptr<Disk> disk_;
  std::vector<uint8_t> view_;  // what reads see: all completed writes
  std::mt19937_64 random_;
  std::vector<Queued> queue_;
  std::vector<Pending> unflushed_;
  bool crashed_ = false;
};

}  // namespace nabu::store::test
