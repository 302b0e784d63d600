#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

namespace nabu::slab {

inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kHugePageBytes = 2U << 20U;

enum class HugePages {
  kNo,   // base pages
  kTry,  // 2 MiB pages when the pool has enough, else base pages (transparent huge pages asked for)
  kRequire,  // 2 MiB pages or an error
};

struct RegionOptions {
  std::size_t lengthBytes = 0;  // a positive multiple of kBlockBytes
  HugePages hugePages = HugePages::kTry;
  bool lock = false;  // mlock, or an error
  // A memfd of at least lengthBytes to map instead of taking memory of our own; its page size is
  // its maker's choice, hugePages is only advice then. The caller keeps the descriptor.
  int memoryFd = -1;
};

enum class RegionFailure { kBadLength, kNoMemory, kNoHugePages, kLockDenied };

struct RegionError {
  RegionFailure failure;
  std::string reason;
};

// Anonymous memory (or that of a memfd), mapped and faulted in before it is handed out, aligned to
// its page size (at least 4 KiB), so that direct I/O may use any block of it and no later access
// can fail.
class Region {
 public:
  static std::variant<Region, RegionError> map(const RegionOptions& options);

  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  std::uint8_t* bytes() const { return bytes_; }
  std::size_t lengthBytes() const { return lengthBytes_; }
  std::size_t pageSizeBytes() const { return pageSizeBytes_; }
  bool locked() const { return locked_; }

 private:
  Region(std::uint8_t* bytes, std::size_t length, std::size_t mapped, std::size_t pageSize)
      : bytes_(bytes), lengthBytes_(length), mappedBytes_(mapped), pageSizeBytes_(pageSize) {}
  void unmap() noexcept;

  std::uint8_t* bytes_ = nullptr;
  std::size_t lengthBytes_ = 0;
  std::size_t mappedBytes_ = 0;  // lengthBytes_ rounded up to whole pages
  std::size_t pageSizeBytes_ = 0;
  bool locked_ = false;
};

}  // namespace nabu::slab
