#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nabu::pulse {

// What is looked at of a path. The values are those of device-plugin/machine/pulse/native.ts.
enum class ProbeKind : std::uint8_t {
  kText = 0,   // the bytes of a regular file, the first kTextBytes of them
  kNames = 1,  // the names in a directory, in any order
  kLink = 2,   // where a link leads
  kNode = 3,   // what lies there, links not followed: its kind, and the numbers of a device file
};

struct Probe {
  ProbeKind kind = ProbeKind::kText;
  std::string path;

  bool operator==(const Probe&) const = default;
};

// What a look gave. Equal readings: nothing has changed.
struct Reading {
  int error = 0;  // an errno; 0 when there is content
  std::string content;

  bool operator==(const Reading&) const = default;
};

inline constexpr std::size_t kTextBytes = 4096;
inline constexpr std::size_t kNamesLimit = 16384;

// Looks once. Blocks for as long as the file system, or the driver behind a file, does.
Reading read(const Probe& probe);

}  // namespace nabu::pulse
