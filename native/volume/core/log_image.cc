#include "volume/core/log_image.h"

#include <algorithm>
#include <bit>

#include "ec/crc32c.h"

namespace nabu::volume {
namespace {

static_assert(std::endian::native == std::endian::little, "the formats are written as they lie");
constexpr std::uint32_t kImageMagic = 0x494c424e;  // NBLI
constexpr std::uint32_t kRootMagic = 0x5452424e;   // NBRT
constexpr std::uint16_t kVersion = 1;
constexpr std::uint8_t kFlagRoot = 1;
constexpr std::size_t kCrcAt = 124;

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

std::uint32_t headerCrc(const std::byte* image, std::size_t length) {
  static constexpr std::byte kZero[4] = {};
  std::uint32_t crc = ec::crc32c(image, kCrcAt);
  crc = ec::crc32c(kZero, sizeof kZero, crc);
  return ec::crc32c(image + kCrcAt + 4, length - kCrcAt - 4, crc);
}

Error invalid(std::string reason) { return {Failure::kInvalidImage, "image", std::move(reason)}; }

bool kindFits(ImageKind image, EntryKind entry) {
  switch (image) {
    case ImageKind::kLog:
      return entry == EntryKind::kWrite || entry == EntryKind::kTrim;
    case ImageKind::kCheckpoint:
      return entry == EntryKind::kMapPage || entry == EntryKind::kUsagePage ||
             entry == EntryKind::kRoot;
    case ImageKind::kClean:
      return entry == EntryKind::kCopyIfAt;
  }
  return false;
}

// What is wrong with an entry, or nullptr. Payloads follow each other from `payload` on.
const char* checkEntry(const Entry& entry, const ImageHeader& header, std::uint32_t payload) {
  const std::uint64_t volumeBlocks = kMaxVolumeBytes / kBlockBytes;
  if (!kindFits(header.kind, entry.kind)) return "an entry's kind does not belong into the image";
  if (entry.count == 0) return "an entry has no blocks";
  if (entry.hasPayload()) {
    if (entry.payload != payload) return "an entry's payload is not where the one before ends";
    if (entry.count > header.headerBlocks + header.payloadBlocks - payload) {
      return "an entry's payload runs over the end";
    }
  } else if (entry.payload != 0) {
    return "an entry without payload points at one";
  }
  switch (entry.kind) {
    case EntryKind::kWrite:
    case EntryKind::kTrim:
    case EntryKind::kCopyIfAt:
      if (entry.block >= volumeBlocks || entry.count > volumeBlocks - entry.block) {
        return "an entry lies behind the largest volume";
      }
      if (entry.kind == EntryKind::kCopyIfAt &&
          (blockOf(entry.old) == 0 || blockOf(entry.old) + entry.count > 0x10000)) {
        return "a copy's old place is no place";
      }
      return nullptr;
    case EntryKind::kMapPage:
    case EntryKind::kUsagePage:
      if (entry.count != 1 || entry.level > 6) return "a page entry is not one page";
      return nullptr;
    case EntryKind::kRoot:
      return entry.count == 1 ? nullptr : "a root entry is not one block";
  }
  return "an entry's kind is unknown";
}

Result<ParsedImage> parse(std::span<const std::byte> image, bool withPayload) {
  if (image.size() < kBlockBytes) return invalid("shorter than a header");
  const std::byte* at = image.data();
  if (load<std::uint32_t>(at) != kImageMagic) return invalid("no log image");
  if (const auto version = load<std::uint16_t>(at + 4); version != kVersion) {
    return Error{Failure::kUnknownFormat, "log image", std::to_string(version)};
  }
  ParsedImage parsed;
  ImageHeader& header = parsed.header;
  const auto kind = load<std::uint8_t>(at + 6);
  const auto flags = load<std::uint8_t>(at + 7);
  std::memcpy(header.volumeId.data(), at + 8, header.volumeId.size());
  header.position = {load<std::uint64_t>(at + 24), load<std::uint64_t>(at + 32),
                     load<std::uint64_t>(at + 40), load<std::uint64_t>(at + 48),
                     load<std::uint64_t>(at + 56), load<std::uint64_t>(at + 64)};
  header.volumeBytes = load<std::uint64_t>(at + 72);
  header.checkpointId = load<std::uint64_t>(at + 80);
  header.entryCount = load<std::uint32_t>(at + 88);
  header.headerBlocks = load<std::uint32_t>(at + 92);
  header.payloadBlocks = load<std::uint32_t>(at + 96);
  header.ringId = load<std::uint64_t>(at + 104);
  header.ringEnd = load<std::uint64_t>(at + 112);

  // Sizes first: the CRC is taken over what they say.
  const std::size_t blocks = image.size() / kBlockBytes;
  if (header.headerBlocks == 0 || header.headerBlocks > blocks || header.headerBlocks > 0xffff) {
    return invalid("its header runs over the end");
  }
  if ((withPayload && header.payloadBlocks > blocks - header.headerBlocks) ||
      header.payloadBlocks > 0xffff - header.headerBlocks) {
    return invalid("its payload runs over the end");
  }
  const std::size_t headerBytes = header.headerBlocks * kBlockBytes;
  if (header.entryCount > (headerBytes - kImageHeaderBytes) / kImageEntryBytes) {
    return invalid("it has more entries than its header holds");
  }
  if (headerCrc(at, headerBytes) != load<std::uint32_t>(at + kCrcAt)) {
    return invalid("its checksum is wrong");
  }
  if (kind < 1 || kind > 3) return invalid("its kind is unknown");
  header.kind = static_cast<ImageKind>(kind);
  if ((flags & ~kFlagRoot) != 0) return invalid("it has unknown flags");
  header.hasRoot = (flags & kFlagRoot) != 0;
  if (header.position.sequence == 0 || header.position.sequence > kMaxSequence) {
    return invalid("its sequence is out of range");
  }
  if (header.volumeBytes > kMaxVolumeBytes || header.volumeBytes % kBlockBytes != 0) {
    return invalid("its volume size is out of range");
  }

  std::uint32_t payload = header.headerBlocks;
  bool root = false;
  parsed.entries.reserve(header.entryCount);
  for (std::uint32_t i = 0; i < header.entryCount; ++i) {
    const std::byte* raw = at + kImageHeaderBytes + i * kImageEntryBytes;
    Entry entry{static_cast<EntryKind>(load<std::uint8_t>(raw)),
                load<std::uint8_t>(raw + 1),
                load<std::uint32_t>(raw + 4),
                load<std::uint64_t>(raw + 8),
                load<std::uint64_t>(raw + 16),
                load<std::uint32_t>(raw + 24)};
    if (const char* wrong = checkEntry(entry, header, payload)) return invalid(wrong);
    if (root) return invalid("something follows its root");
    root = entry.kind == EntryKind::kRoot;
    if (entry.hasPayload()) payload += entry.count;
    parsed.entries.push_back(entry);
  }
  if (payload != header.headerBlocks + header.payloadBlocks) {
    return invalid("its entries do not make up its payload");
  }
  if (root != header.hasRoot) return invalid("its root flag is wrong");
  return parsed;
}

}  // namespace

Result<ParsedImage> parseImage(std::span<const std::byte> image) { return parse(image, true); }

Result<ParsedImage> parseImageHeader(std::span<const std::byte> header) {
  return parse(header, false);
}

void writeImageHeader(const ImageHeader& header, std::span<const Entry> entries, std::byte* image) {
  const std::size_t headerBytes = header.headerBlocks * kBlockBytes;
  const std::size_t used = kImageHeaderBytes + entries.size() * kImageEntryBytes;
  std::memset(image, 0, kImageHeaderBytes);
  std::memset(image + used, 0, headerBytes - used);
  store(image, kImageMagic);
  store(image + 4, kVersion);
  store(image + 6, static_cast<std::uint8_t>(header.kind));
  store(image + 7, header.hasRoot ? kFlagRoot : std::uint8_t{0});
  std::memcpy(image + 8, header.volumeId.data(), header.volumeId.size());
  const Position& p = header.position;
  const std::uint64_t words[] = {p.generation,         p.incarnation,         p.sequence,
                                 p.previousGeneration, p.previousIncarnation, p.checkpointSequence,
                                 header.volumeBytes,   header.checkpointId};
  std::memcpy(image + 24, words, sizeof words);
  store(image + 88, header.entryCount);
  store(image + 92, header.headerBlocks);
  store(image + 96, header.payloadBlocks);
  store(image + 104, header.ringId);
  store(image + 112, header.ringEnd);
  std::byte* raw = image + kImageHeaderBytes;
  for (const Entry& entry : entries) {
    std::memset(raw, 0, kImageEntryBytes);
    store(raw, static_cast<std::uint8_t>(entry.kind));
    store(raw + 1, entry.level);
    store(raw + 4, entry.count);
    store(raw + 8, entry.block);
    store(raw + 16, entry.old);
    store(raw + 24, entry.payload);
    raw += kImageEntryBytes;
  }
  store(image + kCrcAt, headerCrc(image, headerBytes));
}

std::size_t imageHeaderLength(std::span<const std::byte> header) {
  const auto blocks = load<std::uint32_t>(header.data() + 92);
  return std::size_t{std::min<std::uint32_t>(blocks, 0xffff)} * kBlockBytes;
}

void writeRoot(const RootRecord& root, std::byte* block) {
  std::memset(block, 0, kBlockBytes);
  store(block, kRootMagic);
  store(block + 4, std::uint32_t{kVersion});
  std::memcpy(block + 8, root.volumeId.data(), root.volumeId.size());
  const std::uint64_t words[] = {root.coveredSequence, root.checkpointId, root.volumeBytes,
                                 root.mapRoot, root.usageRoot};
  std::memcpy(block + 24, words, sizeof words);
  store(block + 64, root.mapLevels);
  store(block + 65, root.usageLevels);
  store(block + kBlockBytes - 4, ec::crc32c(block, kBlockBytes - 4));
}

Result<RootRecord> parseRoot(const std::byte* block) {
  if (load<std::uint32_t>(block) != kRootMagic) return invalid("its root is none");
  if (const auto version = load<std::uint32_t>(block + 4); version != kVersion) {
    return Error{Failure::kUnknownFormat, "checkpoint root", std::to_string(version)};
  }
  if (ec::crc32c(block, kBlockBytes - 4) != load<std::uint32_t>(block + kBlockBytes - 4)) {
    return invalid("its root's checksum is wrong");
  }
  RootRecord root;
  std::memcpy(root.volumeId.data(), block + 8, root.volumeId.size());
  root.coveredSequence = load<std::uint64_t>(block + 24);
  root.checkpointId = load<std::uint64_t>(block + 32);
  root.volumeBytes = load<std::uint64_t>(block + 40);
  root.mapRoot = load<std::uint64_t>(block + 48);
  root.usageRoot = load<std::uint64_t>(block + 56);
  root.mapLevels = load<std::uint8_t>(block + 64);
  root.usageLevels = load<std::uint8_t>(block + 65);
  return root;
}

}  // namespace nabu::volume
