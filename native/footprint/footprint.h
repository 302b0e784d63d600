#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nabu::footprint {

// A part of the address space, page-aligned.
struct Mapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::uint64_t residentBytes = 0;

  bool operator==(const Mapping&) const = default;
};

// Pure. Of a text as /proc/self/smaps is (proc_pid_smaps(5)): the private mappings of files that
// nobody may write, of which no page is changed, locked or swapped out, so that each page of theirs
// is what is in the file. Code and constants; not what the dynamic linker has relocated and then
// protected, whose pages are anonymous.
std::vector<Mapping> unchangedMappings(std::string_view smaps);

struct Returned {
  std::uint64_t fileBytes = 0;  // that were mapped, resident and are not mapped now
  bool isHeapTrimmed = false;
};

// Lets go of what the start of a process has touched and its life does not need: pages of code,
// which the kernel maps again from the page cache when they are used (madvise(2), MADV_DONTNEED on
// a private mapping of a file), and free memory of malloc (malloc_trim(3)). Any thread may run
// meanwhile. Nothing and errno when smaps cannot be read.
std::optional<Returned> giveBack(const char* smapsPath, int& error);

}  // namespace nabu::footprint
