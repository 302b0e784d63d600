#pragma once

#include <vector>

#include "store/store.h"

namespace nabu::store {

struct Store::AppendWrite : RecordWrite {
  ShardName name;
  WriterEpoch epoch;
  bool log = false;
  bool onDevice = false;
  Id16 owner{};
  Done done;
  std::vector<Done> others;  // the same shard, appended again meanwhile
};

/** A record of one block: tombstones, owner state, marks. Frees itself after `then`. */
struct Store::SmallWrite : RecordWrite {
  void (Store::*then)(SmallWrite*) = nullptr;
  Id16 owner{};
  OwnerState state;
  OwnerRule rule;
  DegradedMark mark;
  StripeName stripe{};
  uint64_t stamp = 0;
  Done done;
};

struct Store::ReadOp {
  struct Part : IoRequest {
    ReadOp* op = nullptr;
  };
  Store* store = nullptr;
  Part parts[2];
  int pending = 0;
  int error = 0;
  AlignedBuffer header;
  const RecordHeader* head = nullptr;  // in `header` or in `cached`
  bool fromDevice = false;
  std::vector<uint64_t> cached;
  Fingerprint print{};
  Key key{};
  uint64_t block = 0;
  uint64_t generation = 0;
  uint32_t segment = 0;
  uint64_t rangeOffset = 0, rangeLength = 0;
  uint8_t* payload = nullptr;
  uint8_t* metaOut = nullptr;
  Done done;
};

}  // namespace nabu::store
