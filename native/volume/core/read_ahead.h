#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>

namespace nabu::volume {

struct Ahead {
  std::uint64_t block = 0;
  std::uint32_t count = 0;  // 0 = nothing to do
};

// Recognises streams of reads at rising offsets and says what to fetch before it is asked for. The
// window doubles with each read of a stream. Several streams at once; a few out-of-order reads (a
// queue depth above one) do not break a stream. Thread safe.
class ReadAhead {
 public:
  static constexpr std::uint32_t kMaxWindow = 1024;  // blocks
  static constexpr std::uint32_t kStep = 64;         // no fetch for less than this

  Ahead next(std::uint64_t block, std::uint32_t count) {
    const std::lock_guard lock(mutex_);
    ++now_;
    const std::uint64_t slack = std::max<std::uint64_t>(kSlack, 4 * count);
    Stream* oldest = &streams_[0];
    for (Stream& stream : streams_) {
      // Near the front of the stream, before or behind: it goes on.
      if (stream.window != 0 && block + slack >= stream.front && block <= stream.front + slack) {
        return goOn(stream, block, count);
      }
      if (stream.used < oldest->used) oldest = &stream;
    }
    *oldest = Stream{block + count, block + count, 1, 0, now_};
    return {};
  }

 private:
  static constexpr std::uint64_t kSlack = 64;
  struct Stream {
    std::uint64_t front = 0;    // where the next read is expected
    std::uint64_t fetched = 0;  // what has been asked for ends here
    std::uint32_t window = 0;   // 0 = unused
    std::uint32_t run = 0;
    std::uint64_t used = 0;
  };

  Ahead goOn(Stream& stream, std::uint64_t block, std::uint32_t count) {
    stream.used = now_;
    const std::uint64_t end = block + count;
    if (end <= stream.front)
      return {};  // behind the front: random reads in a small place come here too
    if (block < stream.front && stream.run == 0) return {};
    stream.front = end;
    if (++stream.run < 3) return {};
    stream.window = std::min(std::max(stream.window * 2, 4 * count), kMaxWindow);
    stream.fetched = std::max(stream.fetched, end);
    const std::uint64_t wanted = end + stream.window;
    if (wanted < stream.fetched + kStep) return {};
    const Ahead ahead{stream.fetched, static_cast<std::uint32_t>(wanted - stream.fetched)};
    stream.fetched = wanted;
    return ahead;
  }

  std::mutex mutex_;
  std::array<Stream, 8> streams_{};
  std::uint64_t now_ = 0;
};

}  // namespace nabu::volume
