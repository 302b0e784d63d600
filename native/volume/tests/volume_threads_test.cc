#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "volume/tests/volume_rig.h"

namespace nabu::volume::test {
namespace {

// The owner's side on a thread of its own, driven by events, as JavaScript is.
class LiveRig : public VolumeEvents {
 public:
  explicit LiveRig(std::uint64_t sizeBytes)
      : fd_(WriteRing::createMemfd(testId(), 4 << 20).value()) {
    VolumeOptions options;
    options.volumeId = testId();
    options.sizeBytes = sizeBytes;
    options.readCacheBytes = 256 * kBlockBytes;
    options.mapCacheBytes = 64 * kBlockBytes;
    options.sealBytes = 256 * kBlockBytes;
    volume = std::move(Volume::open(options, fd_, *this).value());
    owner_ = std::thread([this] { own(); });
  }
  ~LiveRig() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    owner_.join();
    volume->close();
    close(fd_);
  }
  void sealWanted(SealReason, std::uint64_t) override {
    const std::lock_guard lock(mutex_);
    seal_ = true;
    wake_.notify_one();
  }
  void fetch(std::span<const FetchWanted> fetches) override {
    const std::lock_guard lock(mutex_);
    fetches_.insert(fetches_.end(), fetches.begin(), fetches.end());
    wake_.notify_one();
  }
  void checkpointWanted(std::size_t, bool) override {}

  std::unique_ptr<Volume> volume;

 private:
  void own() {
    std::map<std::uint64_t, Bytes> images;
    Bytes room(kMaxImageBytes);
    std::uint64_t sequence = 0;
    std::uint64_t checkpointed = 0;
    const auto put = [&](std::size_t length) {
      images[sequence] = Bytes(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(length));
      (void)volume->commit(sequence);
    };
    const auto at = [&] {
      Position p;
      p.sequence = ++sequence;
      return p;
    };
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || seal_ || !fetches_.empty(); });
      if (stop_) return;
      const auto fetches = std::exchange(fetches_, {});
      seal_ = false;
      lock.unlock();
      for (const FetchWanted& f : fetches) {
        const Bytes& image = images.at(f.sequence);
        (void)volume->fetched(f.id, image.data() + std::size_t{f.block} * kBlockBytes,
                              std::size_t{f.count} * kBlockBytes, FetchOutcome::kOk);
      }
      while (true) {
        const auto sealed = volume->seal(room, at());
        if (!sealed.value()) {
          --sequence;
          break;
        }
        put(sealed.value()->lengthBytes);
      }
      if (sequence > checkpointed + 20 && volume->beginCheckpoint().value()) {
        for (bool last = false; !last;) {
          const auto image = volume->nextCheckpointImage(room, at());
          last = image.value().last;
          put(image.value().lengthBytes);
        }
        for (const Victim& victim : volume->pickVictims(4, 0.5, 0)) {
          volume->stageClean(images.at(victim.sequence), [](Result<StagedCounts>) {});
        }
        const auto cleaned = volume->cleanImage(room, at());
        if (cleaned.ok() && cleaned.value()) {
          put(cleaned.value()->lengthBytes);
        } else {
          --sequence;
        }
        checkpointed = sequence;
      }
      lock.lock();
    }
  }

  int fd_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  bool seal_ = false;
  std::deque<FetchWanted> fetches_;
  std::thread owner_;
};

// A request whose thread waits for it.
struct BlockingRequest : Request, RequestSink {
  BlockingRequest() { sink = this; }
  void answer(Request&, int result) override { error = result; }
  void release(Request&) override {
    const std::lock_guard lock(mutex);
    released = true;
    wake.notify_one();
  }
  int wait() {
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return released; });
    return error;
  }
  std::mutex mutex;
  std::condition_variable wake;
  bool released = false;
  int error = -1;
};

}  // namespace

TEST_CASE("threads that read, write, trim and flush at once see their own writes") {
  constexpr std::uint64_t kBlocksEach = 1500;
  LiveRig rig(8192 * kBlockBytes);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<std::uint32_t>(t));
      std::vector<std::uint64_t> model(kBlocksEach);
      Bytes memory(64 * kBlockBytes);
      const std::uint64_t base = static_cast<std::uint64_t>(t) * kBlocksEach;
      std::uint64_t next = 1 + static_cast<std::uint64_t>(t) * 1'000'000'000;
      for (int i = 0; i < 2500; ++i) {
        BlockingRequest request;
        request.block = random() % kBlocksEach;
        request.count = std::min<std::uint64_t>(1 + random() % 64, kBlocksEach - request.block);
        const std::uint64_t own = request.block;
        request.block += base;
        request.bytes = memory.data();
        const auto kind = random() % 16;
        if (kind == 0) {
          request.op = RequestOp::kFlush;
          if (rig.volume->tryFlush() == Volume::kMustWait) {
            rig.volume->flush(request);
            wrong += request.wait() != 0;
          }
        } else if (kind < 8) {
          request.op = kind == 1 ? RequestOp::kTrim : RequestOp::kWrite;
          for (std::uint64_t b = 0; b < request.count; ++b) {
            model[own + b] = kind == 1 ? 0 : next++;
            for (std::size_t at = 0; at < kBlockBytes; at += 8) {
              std::memcpy(memory.data() + b * kBlockBytes + at, &model[own + b], 8);
            }
          }
          if (rig.volume->tryWrite(request, false) == Volume::kMustWait) {
            rig.volume->write(request);
            wrong += request.wait() != 0;
          }
        } else {
          if (rig.volume->tryRead(request.block, static_cast<std::uint32_t>(request.count),
                                  memory.data(), t + 1) != 0) {
            rig.volume->read(request, t + 1);
            wrong += request.wait() != 0;
          }
          for (std::uint64_t b = 0; b < request.count; ++b) {
            wrong += Rig::numberIn(memory.data() + b * kBlockBytes) != model[own + b];
          }
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace nabu::volume::test
