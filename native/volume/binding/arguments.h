#pragma once

#include <napi.h>

#include <optional>
#include <span>
#include <string>

#include "volume/core/log_image.h"
#include "volume/core/types.h"

namespace nabu::volume::binding {

// Arguments from JavaScript. Nothing = wrong, and an error naming the field is pending.

std::optional<double> number(Napi::Env env, Napi::Value value, const char* field, double least,
                             double most);
std::optional<std::uint64_t> whole(Napi::Env env, Napi::Value value, const char* field,
                                   std::uint64_t most);
std::optional<std::uint64_t> bigint(Napi::Env env, Napi::Value value, const char* field);
std::optional<VolumeId> volumeId(Napi::Env env, Napi::Value value);
std::optional<Position> position(Napi::Env env, Napi::Value value);
std::string hexOf(const VolumeId& id);

// The slab: one ArrayBuffer that lives as long as the reference.
struct Slab {
  std::byte* bytes = nullptr;
  std::size_t lengthBytes = 0;

  /** [offset, offset + length) of the slab, 4 KiB aligned. */
  std::optional<std::span<std::byte>> range(Napi::Env env, Napi::Value offset,
                                            Napi::Value length) const;
};
std::optional<Slab> slabOf(Napi::Env env, Napi::Value value);

Napi::BigInt toBigInt(Napi::Env env, std::uint64_t value);
Napi::Object toHeader(Napi::Env env, const ImageHeader& header);

}  // namespace nabu::volume::binding
