#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace nabu::volume {

inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kMaxImageBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMinImageBytes = std::size_t{64} << 10;
inline constexpr std::uint64_t kMaxVolumeBytes = std::uint64_t{1} << 48;
// Blocks of the largest single request (FUSE max_write and max_pages) and of the largest fetch.
inline constexpr std::uint32_t kMaxRequestBlocks = 256;
// 47 bits, so that bit 63 of a location is free: the core marks places in the ring with it.
inline constexpr std::uint64_t kMaxSequence = (std::uint64_t{1} << 47) - 1;

using VolumeId = std::array<std::uint8_t, 16>;

// Where a block lies in the log: sequence of the image << 16 | block in the image. 0 = nowhere: an
// image begins with its header, so block 0 is never a payload block.
using Location = std::uint64_t;
constexpr Location makeLocation(std::uint64_t sequence, std::uint32_t block) {
  return sequence << 16 | block;
}
constexpr std::uint64_t sequenceOf(Location location) { return location >> 16; }
constexpr std::uint32_t blockOf(Location location) { return location & 0xffff; }

enum class Failure {
  kBadArgument,    // subject: the field
  kWrongState,     // subject: the operation
  kInvalidImage,   // a log image, or a page in it, that is not what it should be
  kUnknownFormat,  // subject: what has it
  kNoRoom,         // subject: the resource
  kLost,           // a page of the map cannot be read
  kClosed,
  kSystem,  // subject: the call
};

struct Error {
  Failure failure;
  std::string subject;
  std::string reason;
};

/** A value, or why there is none. */
template <class T>
class Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: a value is a result
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: so is an error
  bool ok() const { return std::holds_alternative<T>(state_); }
  T& value() { return std::get<T>(state_); }
  const T& value() const { return std::get<T>(state_); }
  const Error& error() const { return std::get<Error>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;

}  // namespace nabu::volume
