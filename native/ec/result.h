#pragma once

#include <string>
#include <utility>
#include <variant>

namespace nabu::ec {

enum class ErrorCode {
  kBadArgument,
  kDriverUnavailable,
  kSelfCheckFailed,
  kTooFewShards,
  kQueueFull,
  kClosed,
};

struct Error {
  ErrorCode code;
  std::string message;
};

/** A value, or why there is none. */
template <class T>
class Result {
 public:
  Result(T&& value) : state_(std::move(value)) {}    // NOLINT: a value is a result
  Result(const T& value) : state_(value) {}          // NOLINT: as above
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: so is an error
  bool ok() const { return std::holds_alternative<T>(state_); }
  T& value() { return std::get<T>(state_); }
  const T& value() const { return std::get<T>(state_); }
  const Error& error() const { return std::get<Error>(state_); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace nabu::ec
