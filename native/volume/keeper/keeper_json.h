#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "volume/core/types.h"

// Fields of the keeper's messages, their bounds, and how it says no.

namespace nabu::volume::keeper {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxVolumes = 1024;
inline constexpr std::size_t kMaxMetaBytes = 8 << 10;

inline Error refuse(std::string reason) {
  return {Failure::kWrongState, "the request", std::move(reason)};
}

inline std::string textOf(const Error& error) {
  return error.failure == Failure::kWrongState && error.subject == "the request"
             ? error.reason
             : error.subject + ": " + error.reason;
}

inline std::string stringIn(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}
inline std::uint64_t numberIn(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}
inline bool flagIn(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace nabu::volume::keeper
