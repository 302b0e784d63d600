#include "footprint/footprint.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

namespace nabu::footprint {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// A process of many threads and libraries has a few thousand mappings of some 700 bytes of text.
constexpr std::size_t kTextLimitBytes = 64 * 1024 * 1024;

std::string_view takeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view takeWord(std::string_view& line) {
  const std::size_t begin = line.find_first_not_of(' ');
  line.remove_prefix(begin == std::string_view::npos ? line.size() : begin);
  const std::size_t end = line.find(' ');
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(word.size());
  return word;
}

template <typename Number>
bool parse(std::string_view text, Number& number, int base) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && rest == text.data() + text.size();
}

// '00400000-00746000 r--p 00000000 fe:00 1234   /usr/bin/node'
bool parseHead(std::string_view line, Mapping& mapping, bool& isCandidate) {
  const std::string_view range = takeWord(line);
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos || !parse(range.substr(0, dash), mapping.begin, 16) ||
      !parse(range.substr(dash + 1), mapping.end, 16)) {
    return false;
  }
  const std::string_view permissions = takeWord(line);
  takeWord(line);  // offset
  takeWord(line);  // device
  const std::string_view inode = takeWord(line);
  const std::string_view path = takeWord(line);
  isCandidate =
      (permissions == "r--p" || permissions == "r-xp") && inode != "0" && path.starts_with('/');
  return true;
}

// 'Rss:   28944 kB': nothing for a line of another form.
std::optional<std::uint64_t> kibOf(std::string_view line, std::string_view name) {
  if (!line.starts_with(name) || line.size() == name.size() || line[name.size()] != ':') return {};
  line.remove_prefix(name.size() + 1);
  std::uint64_t kib = 0;
  const std::string_view number = takeWord(line);
  if (!parse(number, kib, 10) || takeWord(line) != "kB") return {};
  return kib;
}

std::optional<std::string> readAll(const char* path, int& error) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "re"), &std::fclose);
  if (!file) {
    error = errno;
    return {};
  }
  std::string text;
  std::size_t got = 0;
  do {
    const std::size_t before = text.size();
    text.resize(before + kReadBytes);
    got = std::fread(text.data() + before, 1, kReadBytes, file.get());
    text.resize(before + got);
  } while (got > 0 && text.size() < kTextLimitBytes);
  if (std::ferror(file.get()) != 0) {
    error = EIO;
    return {};
  }
  return text;
}

}  // namespace

std::vector<Mapping> unchangedMappings(std::string_view smaps) {
  std::vector<Mapping> found;
  Mapping mapping;
  bool isCandidate = false;
  unsigned proofs = 0;
  const auto finish = [&] {
    // Resident, and told of each: nothing anonymous, nothing in swap, nothing locked.
    if (isCandidate && proofs == 4 && mapping.residentBytes > 0) found.push_back(mapping);
    mapping = {};
    isCandidate = false;
    proofs = 0;
  };
  while (!smaps.empty()) {
    const std::string_view line = takeLine(smaps);
    Mapping next;
    bool isNextCandidate = false;
    if (parseHead(line, next, isNextCandidate)) {
      finish();
      mapping = next;
      isCandidate = isNextCandidate;
      continue;
    }
    if (const auto kib = kibOf(line, "Rss")) {
      mapping.residentBytes = *kib * 1024;
      ++proofs;
    }
    for (const char* name : {"Anonymous", "Swap", "Locked"}) {
      if (kibOf(line, name) == 0) ++proofs;
    }
  }
  finish();
  return found;
}

std::optional<Returned> giveBack(const char* smapsPath, int& error) {
  const std::optional<std::string> smaps = readAll(smapsPath, error);
  if (!smaps) return {};
  Returned returned;
  for (const auto& [begin, end, residentBytes] : unchangedMappings(*smaps)) {
    void* const at = reinterpret_cast<void*>(begin);
    if (::madvise(at, end - begin, MADV_DONTNEED) == 0) returned.fileBytes += residentBytes;
  }
  returned.isHeapTrimmed = ::malloc_trim(0) == 1;
  return returned;
}

}  // namespace nabu::footprint
