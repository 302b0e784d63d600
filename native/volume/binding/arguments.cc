#include "volume/binding/arguments.h"

#include <cmath>

#include "volume/binding/errors.h"

namespace nabu::volume::binding {
namespace {
constexpr double kMaxSafe = 9007199254740991.0;

int hexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}
}  // namespace

std::optional<double> number(Napi::Env env, Napi::Value value, const char* field, double least,
                             double most) {
  const double got = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (got >= least && got <= most) return got;
  throwBadArgument(env, field, "is not a number in its range");
  return std::nullopt;
}

std::optional<std::uint64_t> whole(Napi::Env env, Napi::Value value, const char* field,
                                   std::uint64_t most) {
  const double got = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (got >= 0 && got <= kMaxSafe && got == std::floor(got) && got <= static_cast<double>(most)) {
    return static_cast<std::uint64_t>(got);
  }
  throwBadArgument(env, field, "is not a whole number in its range");
  return std::nullopt;
}

std::optional<std::uint64_t> bigint(Napi::Env env, Napi::Value value, const char* field) {
  bool lossless = false;
  const std::uint64_t got = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (lossless) return got;
  throwBadArgument(env, field, "is not a bigint of 64 bits without sign");
  return std::nullopt;
}

std::optional<VolumeId> volumeId(Napi::Env env, Napi::Value value) {
  const std::string hex = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  VolumeId id{};
  bool good = hex.size() == 2 * id.size();
  for (std::size_t i = 0; good && i < id.size(); ++i) {
    const int high = hexDigit(hex[2 * i]);
    const int low = hexDigit(hex[2 * i + 1]);
    good = high >= 0 && low >= 0;
    id[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (good) return id;
  throwBadArgument(env, "volumeId", "is not 32 lower-case hex digits");
  return std::nullopt;
}

std::string hexOf(const VolumeId& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : id) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::optional<Position> position(Napi::Env env, Napi::Value value) {
  if (!value.IsObject()) {
    throwBadArgument(env, "position", "is not an object");
    return std::nullopt;
  }
  const auto object = value.As<Napi::Object>();
  Position p;
  const std::pair<const char*, std::uint64_t*> fields[] = {
      {"generation", &p.generation},
      {"incarnation", &p.incarnation},
      {"sequence", &p.sequence},
      {"previousGeneration", &p.previousGeneration},
      {"previousIncarnation", &p.previousIncarnation},
      {"checkpointSequence", &p.checkpointSequence}};
  for (const auto& [name, to] : fields) {
    const Napi::Value got = object.Get(name);
    if (env.IsExceptionPending()) return std::nullopt;
    const auto parsed = bigint(env, got, name);
    if (!parsed) return std::nullopt;
    *to = *parsed;
  }
  return p;
}

std::optional<std::span<std::byte>> Slab::range(Napi::Env env, Napi::Value offset,
                                                Napi::Value length) const {
  const auto from = whole(env, offset, "slabOffset", lengthBytes);
  if (!from) return std::nullopt;
  const auto size = whole(env, length, "length", lengthBytes - *from);
  if (!size) return std::nullopt;
  if (*from % kBlockBytes != 0 || *size % kBlockBytes != 0) {
    throwBadArgument(env, "slabOffset", "and length must be multiples of 4096");
    return std::nullopt;
  }
  return std::span(bytes + *from, *size);
}

std::optional<Slab> slabOf(Napi::Env env, Napi::Value value) {
  if (!value.IsArrayBuffer() || value.As<Napi::ArrayBuffer>().IsDetached()) {
    throwBadArgument(env, "slab", "is not an ArrayBuffer");
    return std::nullopt;
  }
  auto buffer = value.As<Napi::ArrayBuffer>();
  return Slab{static_cast<std::byte*>(buffer.Data()), buffer.ByteLength()};
}

Napi::BigInt toBigInt(Napi::Env env, std::uint64_t value) { return Napi::BigInt::New(env, value); }

Napi::Object toHeader(Napi::Env env, const ImageHeader& header) {
  static constexpr const char* kKinds[] = {"", "log", "checkpoint", "clean"};
  Napi::Object o = Napi::Object::New(env);
  const Position& p = header.position;
  o.Set("volumeId", hexOf(header.volumeId));
  o.Set("kind", kKinds[static_cast<int>(header.kind)]);
  o.Set("hasRoot", header.hasRoot);
  o.Set("generation", toBigInt(env, p.generation));
  o.Set("incarnation", toBigInt(env, p.incarnation));
  o.Set("sequence", toBigInt(env, p.sequence));
  o.Set("previousGeneration", toBigInt(env, p.previousGeneration));
  o.Set("previousIncarnation", toBigInt(env, p.previousIncarnation));
  o.Set("checkpointSequence", toBigInt(env, p.checkpointSequence));
  o.Set("entryCount", header.entryCount);
  o.Set("payloadBlocks", header.payloadBlocks);
  o.Set("headerBlocks", header.headerBlocks);
  o.Set("imageBytes", static_cast<double>(header.imageBytes()));
  o.Set("volumeSizeBytes", static_cast<double>(header.volumeBytes));
  return o;
}

}  // namespace nabu::volume::binding
