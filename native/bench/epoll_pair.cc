// The peer of transport.1MiB: two C++ processes over one loopback TCP connection, each an epoll
// loop on one thread, with no framework around them. The sender makes the CRC32C of each 4 KiB of a
// payload before it sends it, the taker verifies all of them and answers, several are on their way
// at once: what NabuStore's transport is asked to do in its row.
//
//   bench_epoll_pair serve PAYLOAD_BYTES             prints its port; ends when its stdin does
//   bench_epoll_pair drive PAYLOAD_BYTES DEPTH PORT
//     for each line "N" on stdin: N payloads; prints {"p50Us":..,"seconds":..,"cpuSeconds":..}

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ec/crc32c.h"

namespace {

constexpr size_t kBlockBytes = 4096;

/** As long as NabuStore's own. */
struct Header {
  uint64_t id = 0;
  uint32_t status = 0;
  uint32_t crcBytes = 0;
  uint32_t payloadBytes = 0;
  uint32_t unused[7] = {};
};
static_assert(sizeof(Header) == 48);

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "bench_epoll_pair: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};

/** A payload with its checksums, in page-aligned memory that was touched. */
class Payload {
 public:
  explicit Payload(size_t bytes)
      : bytes_(
            static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, std::max(bytes, kBlockBytes)))),
        size_(bytes),
        crcs_((bytes + kBlockBytes - 1) / kBlockBytes) {
    if (!bytes_) fail("memory");
    std::mt19937_64 random(1);
    for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(bytes_.get() + at, &word, sizeof(word));
    }
  }

  uint8_t* bytes() { return bytes_.get(); }
  size_t size() const { return size_; }
  uint32_t* crcs() { return crcs_.data(); }
  size_t crcBytes() const { return crcs_.size() * sizeof(uint32_t); }
  void sum() { nabu::ec::crc32cBlocks(bytes_.get(), size_, crcs_.data()); }
  bool good() const { return nabu::ec::verifyBlocks(bytes_.get(), size_, crcs_.data()) < 0; }

 private:
  std::unique_ptr<uint8_t, FreeDeleter> bytes_;
  size_t size_;
  std::vector<uint32_t> crcs_;
};

void noDelay(int fd) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) fail("TCP_NODELAY");
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/** Drops what was moved; true when all is. */
bool advance(std::vector<iovec>& parts, size_t moved) {
  size_t first = 0;
  while (first < parts.size() && moved >= parts[first].iov_len) moved -= parts[first++].iov_len;
  parts.erase(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(first));
  if (parts.empty()) return true;
  parts.front().iov_base = static_cast<uint8_t*>(parts.front().iov_base) + moved;
  parts.front().iov_len -= moved;
  return false;
}

enum class Moved { kAll, kBlocked, kClosed };

Moved move(int fd, std::vector<iovec>& parts, bool send) {
  while (!parts.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = std::min<size_t>(parts.size(), 64);
    const ssize_t moved = send ? sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                               : recvmsg(fd, &message, MSG_DONTWAIT);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && errno == EAGAIN) return Moved::kBlocked;
    if (moved <= 0) return Moved::kClosed;
    advance(parts, static_cast<size_t>(moved));
  }
  return Moved::kAll;
}

/** One connection of the server: takes payloads one after the other, answers each. */
class Taker {
 public:
  Taker(int fd, size_t payloadBytes) : fd_(fd), payload_(payloadBytes) { expectHeader(); }
  ~Taker() { close(fd_); }
  Taker(const Taker&) = delete;
  Taker& operator=(const Taker&) = delete;

  /** False when the connection is over. */
  bool progress() {
    for (;;) {
      const Moved moved = move(fd_, receiving_, false);
      if (moved == Moved::kClosed) return false;
      if (moved == Moved::kBlocked) break;
      if (!inBody_) {
        if (header_.payloadBytes != payload_.size() || header_.crcBytes != payload_.crcBytes())
          return false;
        inBody_ = true;
        if (payload_.size() > 0)
          receiving_ = {{payload_.crcs(), payload_.crcBytes()},
                        {payload_.bytes(), payload_.size()}};
      } else {
        answer();
      }
    }
    return flush();
  }

 private:
  void expectHeader() {
    inBody_ = false;
    receiving_ = {{&header_, sizeof(header_)}};
  }

  void answer() {
    Header& answer = answers_.emplace_back();
    answer.id = header_.id;
    answer.status = payload_.good() ? 0 : 1;
    expectHeader();
  }

  bool flush() {
    while (!answers_.empty()) {
      if (sending_.empty()) sending_ = {{&answers_.front(), sizeof(Header)}};
      const Moved moved = move(fd_, sending_, true);
      if (moved == Moved::kClosed) return false;
      if (moved == Moved::kBlocked) return true;
      answers_.pop_front();
    }
    return true;
  }

  int fd_;
  Payload payload_;
  Header header_{};
  bool inBody_ = false;
  std::vector<iovec> receiving_;
  std::deque<Header> answers_;
  std::vector<iovec> sending_;
};

int serve(size_t payloadBytes) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) fail("socket");
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) < 0) fail("bind");
  if (listen(listener, 16) < 0) fail("listen");
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) < 0)
    fail("getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  std::thread([] {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    std::_Exit(0);  // whoever started this server is gone
  }).detach();
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) fail("accept");
    noDelay(fd);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll_create1");
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    Taker taker(fd, payloadBytes);
    while (taker.progress()) {
      if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) fail("epoll_wait");
    }
    close(epoll);
  }
}

double wallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/** The sender: up to `depth` payloads without an answer, each from a buffer of its own. */
class Driver {
 public:
  Driver(size_t payloadBytes, size_t depth, uint16_t port)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_ < 0 || epoll_ < 0) fail("socket");
    const sockaddr_in address = loopback(port);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
      fail("connect");
    noDelay(fd_);
    for (size_t i = 0; i < depth; ++i) {
      lanes_.push_back(std::make_unique<Lane>(payloadBytes));
      idle_.push_back(i);
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event) < 0) fail("epoll_ctl");
    receiving_ = {{&answer_, sizeof(answer_)}};
  }

  /** Microseconds of each. */
  std::vector<double> run(size_t count) {
    std::vector<double> us;
    us.reserve(count);
    size_t left = count;
    while (us.size() < count) {
      while (left > 0 && !idle_.empty()) {
        begin(idle_.front());
        idle_.pop_front();
        --left;
        if (move(fd_, sending_, true) == Moved::kClosed) fail("send");
      }
      if (move(fd_, sending_, true) == Moved::kClosed) fail("send");
      const size_t before = us.size();
      takeAnswers(us);
      if (us.size() > before && left > 0) continue;
      if (us.size() == count) break;
      epoll_event event{};
      if (epoll_wait(epoll_, &event, 1, -1) < 0 && errno != EINTR) fail("epoll_wait");
    }
    return us;
  }

 private:
  struct Lane {
    explicit Lane(size_t bytes) : payload(bytes) {}
    Payload payload;
    Header request{};
    double startedAt = 0;
  };

  void begin(size_t index) {
    Lane& lane = *lanes_[index];
    lane.startedAt = wallSeconds();
    lane.payload.sum();
    lane.request.id = index;
    lane.request.crcBytes = static_cast<uint32_t>(lane.payload.crcBytes());
    lane.request.payloadBytes = static_cast<uint32_t>(lane.payload.size());
    sending_.push_back({&lane.request, sizeof(Header)});
    if (lane.payload.size() == 0) return;
    sending_.push_back({lane.payload.crcs(), lane.payload.crcBytes()});
    sending_.push_back({lane.payload.bytes(), lane.payload.size()});
  }

  void takeAnswers(std::vector<double>& us) {
    for (;;) {
      const Moved moved = move(fd_, receiving_, false);
      if (moved == Moved::kClosed) fail("receive");
      if (moved == Moved::kBlocked) return;
      if (answer_.status != 0 || answer_.id >= lanes_.size()) {
        std::fprintf(stderr, "bench_epoll_pair: a checksum does not match\n");
        std::exit(1);
      }
      us.push_back((wallSeconds() - lanes_[answer_.id]->startedAt) * 1e6);
      idle_.push_back(answer_.id);
      receiving_ = {{&answer_, sizeof(answer_)}};
    }
  }

  int fd_;
  int epoll_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::deque<size_t> idle_;
  std::vector<iovec> sending_;
  std::vector<iovec> receiving_;
  Header answer_{};
};

int drive(size_t payloadBytes, size_t depth, uint16_t port) {
  Driver driver(payloadBytes, depth, port);
  char line[64];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    const size_t count = std::max<size_t>(1, std::strtoull(line, nullptr, 10));
    const double startWall = wallSeconds();
    const double startCpu = cpuSeconds();
    std::vector<double> us = driver.run(count);
    const double cpu = cpuSeconds() - startCpu;
    const double wall = wallSeconds() - startWall;
    std::sort(us.begin(), us.end());
    std::printf("{\"p50Us\":%.2f,\"seconds\":%.6f,\"cpuSeconds\":%.6f}\n", us[us.size() / 2], wall,
                cpu);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && argc == 3) return serve(std::strtoull(argv[2], nullptr, 10));
  if (mode == "drive" && argc == 5) {
    return drive(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10),
                 static_cast<uint16_t>(std::strtoul(argv[4], nullptr, 10)));
  }
  std::fprintf(stderr,
               "usage: bench_epoll_pair serve PAYLOAD_BYTES | drive PAYLOAD_BYTES DEPTH PORT\n");
  return 64;
}
