#pragma once

#include <cstdint>

#include "volume/core/types.h"

namespace nabu::volume {

struct Request;

// Who handed a request in. Both calls may come from any thread, from inside the call that handed it
// in too.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /** The outcome: 0, or an errno (EIO; ECANCELED when the volume closes). At most once. */
  virtual void answer(Request& request, int error) = 0;
  /**
   * A read whose whole content lies at `bytes`, valid during the call: spares the copy into the
   * request's buffer. Instead of answer; false = not taken, the content is then copied and answer
   * is called.
   */
  virtual bool answerFrom(Request&, const std::byte*) { return false; }
  /** The core holds nothing of the request any more; always after answer (unless the volume closed
   * first). */
  virtual void release(Request& request) = 0;
};

enum class RequestOp : std::uint8_t { kRead, kWrite, kTrim, kFlush };

// One request that cannot be answered at once. The frontend owns it and keeps it, and its buffer,
// until release.
struct Request {
  RequestOp op = RequestOp::kRead;
  std::uint64_t block = 0;
  std::uint64_t count = 0;   // blocks
  std::uint64_t unique = 0;  // without the resent bit
  std::byte* bytes = nullptr;
  RequestSink* sink = nullptr;

  // The core's, from here on.
  std::uint64_t sinceNs = 0;
  std::uint64_t flushTarget = 0;
  std::uint32_t pieces = 0;  // parts of a read that are still to come
  std::uint8_t losses = 0;   // how often a part could not be fetched
  bool again = false;        // a part must be looked up anew
  bool answered = false;
  Request* before = nullptr;
  Request* after = nullptr;
};

// Requests in the order they began to wait.
class RequestList {
 public:
  void push(Request& r) {
    r.before = last_;
    r.after = nullptr;
    (last_ == nullptr ? first_ : last_->after) = &r;
    last_ = &r;
    ++size_;
  }
  void remove(Request& r) {
    (r.before == nullptr ? first_ : r.before->after) = r.after;
    (r.after == nullptr ? last_ : r.after->before) = r.before;
    r.before = r.after = nullptr;
    --size_;
  }
  Request* first() const { return first_; }
  std::size_t size() const { return size_; }

 private:
  Request* first_ = nullptr;
  Request* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nabu::volume
