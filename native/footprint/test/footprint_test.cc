#include "footprint/footprint.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace nabu::footprint {
namespace {

std::string entry(const char* head, const char* anonymous = "0", const char* swap = "0",
                  const char* locked = "0") {
  return std::string(head) + "\nSize:               3352 kB\nRss:                3000 kB\n" +
         "Pss:                   0 kB\nAnonymous:             " + anonymous +
         " kB\nSwap:                  " + swap +
         " kB\nSwapPss:               5 kB\nLocked:                " + locked +
         " kB\nVmFlags: rd mr mw me sd\n";
}

constexpr const char* kCode = "00400000-00746000 r-xp 00000000 fe:00 1234       /usr/bin/node";

TEST_CASE("mappings of files that are as the files are, and nothing else") {
  const Mapping code{0x400000, 0x746000, 3000 * 1024};
  CHECK(unchangedMappings(entry(kCode)) == std::vector<Mapping>{code});
  CHECK(unchangedMappings(entry("00400000-00746000 r--p 0 fe:00 1 /lib/x (deleted)")).size() == 1);
  CHECK(unchangedMappings(entry(kCode, "4")).empty());       // relocated, then protected
  CHECK(unchangedMappings(entry(kCode, "0", "4")).empty());  // the same, swapped out
  CHECK(unchangedMappings(entry(kCode, "0", "0", "4")).empty());
  CHECK(unchangedMappings(entry("00400000-00746000 rw-p 0 fe:00 1 /usr/bin/node")).empty());
  CHECK(unchangedMappings(entry("00400000-00746000 r-xs 0 fe:00 1 /usr/bin/node")).empty());
  CHECK(unchangedMappings(entry("00400000-00746000 r-xp 0 00:00 0 [vdso]")).empty());
  CHECK(unchangedMappings(entry("00400000-00746000 r-xp 0 00:00 0")).empty());
  CHECK(
      unchangedMappings(entry("00400000-00746000 r--p 0 00:0e 77 anon_inode:[io_uring]")).empty());
}

TEST_CASE("what is not told of a mapping counts against it") {
  const std::string whole = entry(kCode);
  for (const char* name : {"Rss", "Anonymous", "Swap:", "Locked"}) {
    std::string text = whole;
    const std::size_t at = text.find(std::string("\n") + name) + 1;
    text.erase(at, text.find('\n', at) + 1 - at);
    CHECK_MESSAGE(unchangedMappings(text).empty(), name);
  }
  CHECK(unchangedMappings("").empty());
  CHECK(unchangedMappings("garbage\n\n:\nRss: x kB\n").empty());
  CHECK(unchangedMappings(entry(kCode) + entry(kCode, "8") + entry(kCode)).size() == 2);
}

// A file of its own, mapped as code is, with all of its pages touched.
class MappedFile {
 public:
  static constexpr std::size_t kBytes = 4 << 20;

  MappedFile() {
    std::string path = "/var/tmp/nabu-footprint-XXXXXX";
    const int descriptor = ::mkstemp(path.data());
    ::unlink(path.c_str());
    const std::vector<unsigned char> bytes(kBytes, 0x5a);
    REQUIRE(::write(descriptor, bytes.data(), bytes.size()) == static_cast<ssize_t>(kBytes));
    at_ = static_cast<unsigned char*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0));
    REQUIRE(at_ != MAP_FAILED);
    ::close(descriptor);
  }
  ~MappedFile() { ::munmap(at_, kBytes); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  unsigned char* at() const { return at_; }
  void protect() const { REQUIRE(::mprotect(at_, kBytes, PROT_READ) == 0); }

  unsigned long sum() const {
    unsigned long sum = 0;
    for (std::size_t i = 0; i < kBytes; i += 64) sum += at_[i];
    return sum;
  }

  std::size_t residentPages() const {
    std::size_t resident = 0;
    const long page = ::sysconf(_SC_PAGESIZE);
    std::FILE* file = std::fopen("/proc/self/pagemap", "rb");
    REQUIRE(file != nullptr);
    std::vector<std::uint64_t> entries(kBytes / page);
    std::fseek(file, static_cast<long>(reinterpret_cast<std::uintptr_t>(at_) / page * 8), SEEK_SET);
    REQUIRE(std::fread(entries.data(), 8, entries.size(), file) == entries.size());
    std::fclose(file);
    for (const std::uint64_t entry : entries) resident += entry >> 63;
    return resident;
  }

 private:
  unsigned char* at_ = nullptr;
};

TEST_CASE("pages of a file are not mapped any more, and are the same when they are read again") {
  const MappedFile file;
  file.protect();
  const unsigned long sum = file.sum();
  CHECK(file.residentPages() == MappedFile::kBytes / 4096);
  int error = 0;
  const auto returned = giveBack("/proc/self/smaps", error);
  REQUIRE(returned.has_value());
  CHECK(returned->fileBytes >= MappedFile::kBytes);
  CHECK(file.residentPages() == 0);
  CHECK(file.sum() == sum);
}

TEST_CASE("a page that was changed before its mapping was protected keeps the change") {
  const MappedFile file;
  file.at()[5000] = 0x77;
  file.protect();
  file.sum();
  int error = 0;
  REQUIRE(giveBack("/proc/self/smaps", error).has_value());
  CHECK(file.at()[5000] == 0x77);
}

TEST_CASE("threads that run meanwhile notice nothing") {
  std::atomic<bool> isOver = false;
  std::atomic<unsigned long> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!isOver) {
        std::array<char, 64> text{};
        if (std::snprintf(text.data(), text.size(), "%d-%.3f", 42, 1.5) != 8) ++wrong;
      }
    });
  }
  int error = 0;
  for (int i = 0; i < 50; ++i) CHECK(giveBack("/proc/self/smaps", error).has_value());
  isOver = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("a text that cannot be read is told by errno") {
  int error = 0;
  CHECK_FALSE(giveBack("/proc/self/no-such-file", error).has_value());
  CHECK(error == ENOENT);
}

}  // namespace
}  // namespace nabu::footprint
