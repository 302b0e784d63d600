#pragma once

#include <coroutine>
#include <cstdint>

#include "store/aligned_buffer.h"
#include "store/device.h"
#include "store/format.h"
#include "store/segments.h"

namespace nabu::store {

class Store;

/** One record on its way to the device. The header is complete but for place, sequence and
 * checksum. */
struct RecordWrite : IoRequest {
  Store* store = nullptr;
  AlignedBuffer header;
  const void* payload = nullptr;
  uint32_t payloadBlockCount = 0;
  uint32_t headerBlockCount = 0;
  SpaceClass space = SpaceClass::kUser;
  uint32_t segment = 0;
  uint32_t entry = 0;  // in the segment's footer
  uint64_t block = 0;  // on the device
  uint64_t recordSequence = 0;
  FooterEntry footer{};
  /** From poll, when durable (result 0) or given up. */
  void (*ended)(RecordWrite*) = nullptr;

  std::coroutine_handle<> caller;  // of one that is awaited

  RecordHeader& head() { return header.as<RecordHeader>(); }
  uint32_t blocks() const { return headerBlockCount + payloadBlockCount; }
  uint64_t bytes() const { return static_cast<uint64_t>(blocks()) * kBlockBytes; }
};

/** Fills what a footer says of a record from its descriptor. */
FooterEntry footerEntryOf(const ShardMeta& meta, const Fingerprint& print);

}  // namespace nabu::store
