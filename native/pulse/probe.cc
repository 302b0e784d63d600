#include "pulse/probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

namespace nabu::pulse {
namespace {

// A descriptor that is closed when it goes.
class File {
 public:
  File(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

Reading failed(int error) { return {error, {}}; }

// O_NOFOLLOW: a link to a device file must not open it. O_NONBLOCK: nor does a pipe wait for a
// writer.
Reading readText(const std::string& path) {
  const File file(path, O_NOFOLLOW);
  if (file.fd() < 0) return failed(errno);
  std::array<char, kTextBytes> bytes;
  std::size_t length = 0;
  while (length < bytes.size()) {
    const ssize_t got = ::read(file.fd(), bytes.data() + length, bytes.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  return {0, std::string(bytes.data(), length)};
}

Reading readNames(const std::string& path) {
  struct Closer {
    void operator()(DIR* folder) const { ::closedir(folder); }
  };
  const std::unique_ptr<DIR, Closer> folder(::opendir(path.c_str()));
  if (!folder) return failed(errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    if (names.size() > kNamesLimit) return failed(E2BIG);
  }
  if (errno != 0) return failed(errno);
  std::sort(names.begin(), names.end());
  std::string content;
  for (const std::string& name : names) content.append(name).push_back('\0');
  return {0, std::move(content)};
}

Reading readLink(const std::string& path) {
  std::array<char, 4096> target;
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return failed(errno);
  return {0, std::string(target.data(), static_cast<std::size_t>(length))};
}

Reading readNode(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return failed(errno);
  const mode_t kind = found.st_mode & S_IFMT;
  const bool isDevice = kind == S_IFCHR || kind == S_IFBLK;
  return {0, std::to_string(kind) + ' ' + std::to_string(isDevice ? found.st_rdev : 0)};
}

}  // namespace

Reading read(const Probe& probe) {
  switch (probe.kind) {
    case ProbeKind::kText:
      return readText(probe.path);
    case ProbeKind::kNames:
      return readNames(probe.path);
    case ProbeKind::kLink:
      return readLink(probe.path);
    case ProbeKind::kNode:
      return readNode(probe.path);
  }
  return failed(EINVAL);
}

}  // namespace nabu::pulse
