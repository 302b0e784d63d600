// The bare fan-out that path.read.1MiB and path.write.1MiB are measured beside: as many server
// processes as a blob has pieces, one client that sends them all, or asks for them all, at once
// over loopback TCP. With checks, the maker of a piece computes the CRC32C of each 4 KiB of it and
// the taker verifies them, as NabuStore does.
//
// A server keeps so many pieces and takes them in turn, so that they come from as much memory as a
// store's do.
//
//   bench_fan_out serve PIECE_BYTES PIECES             prints its port; ends when its stdin does
//   bench_fan_out drive read|write PIECE_BYTES check|plain PORT...
//     for each line "N" on stdin: N rounds; prints
//     {"p50Us":..,"p99Us":..,"seconds":..,"cpuSeconds":..}

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
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "ec/crc32c.h"

namespace {

constexpr size_t kBlockBytes = 4096;
constexpr uint32_t kRead = 1;
constexpr uint32_t kWrite = 2;

struct Header {
  uint32_t op;
  uint32_t status;
  uint32_t crcBytes;
  uint32_t pieceBytes;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "bench_fan_out: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};

/** One piece with its checksums, in page-aligned memory that was touched. */
class Piece {
 public:
  explicit Piece(size_t bytes)
      : bytes_(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, bytes))),
        size_(bytes),
        crcs_(bytes / kBlockBytes) {
    if (!bytes_) fail("memory");
    std::mt19937_64 random(1);
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(bytes_.get() + at, &word, sizeof(word));
    }
    sum();
  }

  uint8_t* bytes() { return bytes_.get(); }
  size_t size() const { return size_; }
  std::vector<uint32_t>& crcs() { return crcs_; }
  uint32_t crcBytes() const { return static_cast<uint32_t>(crcs_.size() * sizeof(uint32_t)); }

  void sum() { nabu::ec::crc32cBlocks(bytes_.get(), size_, crcs_.data()); }
  bool good() const { return nabu::ec::verifyBlocks(bytes_.get(), size_, crcs_.data()) < 0; }

 private:
  std::unique_ptr<uint8_t, FreeDeleter> bytes_;
  size_t size_;
  std::vector<uint32_t> crcs_;
};

bool receiveAll(int fd, void* into, size_t length) {
  auto* at = static_cast<uint8_t*>(into);
  while (length > 0) {
    const ssize_t got = recv(fd, at, length, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    length -= static_cast<size_t>(got);
  }
  return true;
}

/** Skips what was sent; true when all is. */
bool advance(std::vector<iovec>& parts, size_t sent) {
  while (!parts.empty() && sent >= parts.front().iov_len) {
    sent -= parts.front().iov_len;
    parts.erase(parts.begin());
  }
  if (parts.empty()) return true;
  parts.front().iov_base = static_cast<uint8_t*>(parts.front().iov_base) + sent;
  parts.front().iov_len -= sent;
  return false;
}

bool sendAll(int fd, std::vector<iovec> parts) {
  for (;;) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    if (advance(parts, static_cast<size_t>(sent))) return true;
  }
}

void serveConnection(int fd, size_t pieceBytes, size_t count) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < count; ++i) pieces.emplace_back(pieceBytes);
  Header header{};
  for (size_t turn = 0; receiveAll(fd, &header, sizeof(header)); ++turn) {
    Piece& stored = pieces[turn % count];
    if (header.pieceBytes != pieceBytes ||
        (header.crcBytes != 0 && header.crcBytes != stored.crcBytes()))
      break;
    Header answer{header.op, 0, 0, 0};
    if (header.op == kWrite) {
      if (header.crcBytes > 0 && !receiveAll(fd, stored.crcs().data(), header.crcBytes)) break;
      if (!receiveAll(fd, stored.bytes(), stored.size())) break;
      if (header.crcBytes > 0 && !stored.good()) answer.status = 1;
      if (!sendAll(fd, {{&answer, sizeof(answer)}})) break;
    } else {
      // A store verifies what it reads before it sends it.
      if (header.crcBytes > 0 && !stored.good()) answer.status = 1;
      answer.crcBytes = header.crcBytes;
      answer.pieceBytes = header.pieceBytes;
      std::vector<iovec> parts{{&answer, sizeof(answer)}};
      if (header.crcBytes > 0) parts.push_back({stored.crcs().data(), header.crcBytes});
      parts.push_back({stored.bytes(), stored.size()});
      if (!sendAll(fd, std::move(parts))) break;
    }
  }
  close(fd);
}

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

int serve(size_t pieceBytes, size_t pieces) {
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
    std::thread(serveConnection, fd, pieceBytes, pieces).detach();
  }
}

/** One piece on its way to or from one server. */
struct Leg {
  int fd;
  Piece piece;
  Header request{};
  Header answer{};
  std::vector<iovec> sending;
  std::vector<iovec> receiving;
};

class Driver {
 public:
  Driver(uint32_t op, size_t pieceBytes, bool checks, std::span<char*> ports)
      : op_(op), checks_(checks), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) fail("epoll_create1");
    for (size_t i = 0; i < ports.size(); ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd < 0) fail("socket");
      const sockaddr_in address = loopback(static_cast<uint16_t>(std::atoi(ports[i])));
      if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
        fail("connect");
      noDelay(fd);
      legs_.push_back(std::make_unique<Leg>(Leg{fd, Piece(pieceBytes), {}, {}, {}, {}}));
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT | EPOLLET;
      event.data.u64 = i;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    }
  }

  void round() {
    size_t pending = legs_.size();
    for (auto& leg : legs_) {
      begin(*leg);
      progress(*leg, pending);
    }
    while (pending > 0) {
      epoll_event events[16];
      const int count = epoll_wait(epoll_, events, 16, -1);
      if (count < 0 && errno != EINTR) fail("epoll_wait");
      for (int i = 0; i < count; ++i) progress(*legs_[events[i].data.u64], pending);
    }
  }

 private:
  void begin(Leg& leg) {
    const uint32_t crcBytes = checks_ ? leg.piece.crcBytes() : 0;
    leg.request = {op_, 0, crcBytes, static_cast<uint32_t>(leg.piece.size())};
    leg.sending = {{&leg.request, sizeof(Header)}};
    leg.receiving = {{&leg.answer, sizeof(Header)}};
    auto& body = op_ == kWrite ? leg.sending : leg.receiving;
    if (op_ == kWrite && checks_) leg.piece.sum();
    if (crcBytes > 0) body.push_back({leg.piece.crcs().data(), crcBytes});
    body.push_back({leg.piece.bytes(), leg.piece.size()});
  }

  void progress(Leg& leg, size_t& pending) {
    move(leg.fd, leg.sending, true);
    if (leg.receiving.empty()) return;
    move(leg.fd, leg.receiving, false);
    if (!leg.receiving.empty()) return;
    if (leg.answer.status != 0 || (op_ == kRead && checks_ && !leg.piece.good())) {
      std::fprintf(stderr, "bench_fan_out: a checksum does not match\n");
      std::exit(1);
    }
    --pending;
  }

  static void move(int fd, std::vector<iovec>& parts, bool send) {
    while (!parts.empty()) {
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const ssize_t moved = send ? sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : recvmsg(fd, &message, MSG_DONTWAIT);
      if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (moved <= 0) fail(send ? "send" : "receive");
      advance(parts, static_cast<size_t>(moved));
    }
  }

  uint32_t op_;
  bool checks_;
  int epoll_;
  std::vector<std::unique_ptr<Leg>> legs_;
};

double wallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + t.tv_usec / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int drive(uint32_t op, size_t pieceBytes, bool checks, std::span<char*> ports) {
  Driver driver(op, pieceBytes, checks, ports);
  char line[64];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    const int rounds = std::max(1, std::atoi(line));
    std::vector<double> us;
    us.reserve(static_cast<size_t>(rounds));
    const double startWall = wallSeconds();
    const double startCpu = cpuSeconds();
    for (int i = 0; i < rounds; ++i) {
      const double start = wallSeconds();
      driver.round();
      us.push_back((wallSeconds() - start) * 1e6);
    }
    const double cpu = cpuSeconds() - startCpu;
    const double wall = wallSeconds() - startWall;
    std::sort(us.begin(), us.end());
    std::printf("{\"p50Us\":%.2f,\"p99Us\":%.2f,\"seconds\":%.6f,\"cpuSeconds\":%.6f}\n",
                us[us.size() / 2], us[us.size() * 99 / 100], wall, cpu);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && argc == 4) {
    const size_t pieces = std::strtoull(argv[3], nullptr, 10);
    return serve(std::strtoull(argv[2], nullptr, 10), std::max<size_t>(1, pieces));
  }
  if (mode == "drive" && argc > 5) {
    const uint32_t op = std::string(argv[2]) == "write" ? kWrite : kRead;
    const bool checks = std::string(argv[4]) == "check";
    return drive(op, std::strtoull(argv[3], nullptr, 10), checks,
                 std::span<char*>(argv + 5, static_cast<size_t>(argc - 5)));
  }
  std::fprintf(
      stderr,
      "usage: bench_fan_out serve PIECE_BYTES PIECES | drive read|write PIECE_BYTES check|plain "
      "PORT...\n");
  return 64;
}
