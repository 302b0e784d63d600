#include "volume/keeper/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

namespace nabu::volume::keeper {
namespace {

constexpr int kLoopMajor = 7;
constexpr int kAttempts = 64;  // others take free numbers too
// Of the system's dirty memory limit, per device: what is dirty for us can only be cleaned through
// us.
constexpr int kMaxDirtyPercent = 10;
constexpr auto kDetachLimit = std::chrono::seconds(10);

Error system(const std::string& call) { return {Failure::kSystem, call, std::strerror(errno)}; }

std::string pathOf(int number) { return "/dev/loop" + std::to_string(number); }
std::string sysfsOf(int number) { return "/sys/block/loop" + std::to_string(number); }

UniqueFd openLoop(int number, int flags) {
  const std::string path = pathOf(number);
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    // Where /dev is no devtmpfs nobody makes the node.
    mknod(path.c_str(), S_IFBLK | 0660, makedev(kLoopMajor, number));
    fd = UniqueFd(open(path.c_str(), flags | O_CLOEXEC));
  }
  return fd;
}

void limitDirtyMemory(int number) {
  // Absent in old kernels and read-only in containers: direct I/O and locked buffers carry the load
  // there.
  std::ofstream(sysfsOf(number) + "/bdi/strict_limit") << 1;
  std::ofstream(sysfsOf(number) + "/bdi/max_ratio") << kMaxDirtyPercent;
}

}  // namespace

std::optional<std::string> backingFileOf(int number) {
  std::ifstream file(sysfsOf(number) + "/loop/backing_file");
  std::string path;
  if (!std::getline(file, path)) return std::nullopt;
  return path;
}

Result<LoopDevice> attachLoop(const std::string& backingFile, bool readOnly) {
  const int mode = readOnly ? O_RDONLY : O_RDWR;
  UniqueFd backing(open(backingFile.c_str(), mode | O_CLOEXEC));
  if (!backing) return system("opening " + backingFile);
  UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return system("opening /dev/loop-control");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return system("LOOP_CTL_GET_FREE");
    LoopDevice device{number, pathOf(number), openLoop(number, mode)};
    if (!device.fd) return system("opening " + device.path);
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.block_size = kBlockBytes;
    config.info.lo_flags = LO_FLAGS_DIRECT_IO | (readOnly ? LO_FLAGS_READ_ONLY : 0);
    std::strncpy(reinterpret_cast<char*>(config.info.lo_file_name), backingFile.c_str(),
                 LO_NAME_SIZE - 1);
    if (ioctl(device.fd.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return system("LOOP_CONFIGURE of " + device.path);
    }
    loop_info64 info{};
    if (ioctl(device.fd.get(), LOOP_GET_STATUS64, &info) != 0 ||
        (info.lo_flags & LO_FLAGS_DIRECT_IO) == 0) {
      ioctl(device.fd.get(), LOOP_CLR_FD);
      return Error{Failure::kSystem, "LOOP_CONFIGURE of " + device.path,
                   "the kernel refuses direct I/O"};
    }
    limitDirtyMemory(number);
    return device;
  }
  return Error{Failure::kSystem, "LOOP_CTL_GET_FREE", "others took every free loop device"};
}

Status resizeLoop(const LoopDevice& device, const std::string& backingFile) {
  struct stat now {};
  if (stat(backingFile.c_str(), &now) != 0) return system("stat of " + backingFile);
  if (ioctl(device.fd.get(), LOOP_SET_CAPACITY) != 0)
    return system("LOOP_SET_CAPACITY of " + device.path);
  return Done{};
}

Status detachLoop(LoopDevice device, const std::string& backingFile) {
  // O_EXCL is refused while a file system or the device mapper holds the device.
  if (UniqueFd claim = openLoop(device.number, O_RDONLY | O_EXCL); !claim) {
    if (errno == EBUSY)
      return Error{Failure::kWrongState, "detaching " + device.path, "it is in use"};
  }
  fsync(device.fd.get());
  if (ioctl(device.fd.get(), LOOP_CLR_FD) != 0 && errno != ENXIO)
    return system("LOOP_CLR_FD of " + device.path);
  device.fd.reset();
  // The device lets go of the file at its last close, which may be another program's (udev looks at
  // it).
  const auto limit = std::chrono::steady_clock::now() + kDetachLimit;
  while (backingFileOf(device.number) == backingFile) {
    if (std::chrono::steady_clock::now() > limit) {
      return Error{Failure::kWrongState, "detaching " + device.path,
                   "another program keeps it open"};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return Done{};
}

Status abandonLoop(int number, const std::string& backingFile) {
  const auto backing = backingFileOf(number);
  // Given to something else since, or gone: not ours to touch.
  if (!backing || (*backing != backingFile && *backing != backingFile + " (deleted)"))
    return Done{};
  const std::string device = std::to_string(kLoopMajor) + ":" + std::to_string(number);
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, majorMinor, root, target;
    fields >> id >> parent >> majorMinor >> root >> target;
    if (majorMinor == device) umount2(target.c_str(), MNT_DETACH);
  }
  UniqueFd fd = openLoop(number, O_RDONLY);
  if (!fd) return system("opening " + pathOf(number));
  if (ioctl(fd.get(), LOOP_CLR_FD) != 0 && errno != ENXIO)
    return system("LOOP_CLR_FD of " + pathOf(number));
  return Done{};
}

}  // namespace nabu::volume::keeper
