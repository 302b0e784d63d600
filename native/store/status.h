#pragma once

namespace nabu::store {

/** How an operation ended, or that it has not (kPending: the callback will tell). */
enum class Status : int {
  kOk = 0,  // an append: stored
  kExists = 1,
  kDeleted = 2,
  kAbsent = 3,
  kUnknown = 4,
  kCorrupt = 5,
  kPending = 6,
  // Errors. Nothing has changed.
  kFenced = 16,
  kFull = 17,
  kFailed = 18,
  kReadOnly = 19,
  kBadArgument = 20,
  kOutOfRange = 21,
  kTooLarge = 22,
  kChecksum = 23,
  kClosed = 24,
  kQueueFull = 25,
};

enum class StoreState { kOk, kFull, kReadOnly, kFailed };

}  // namespace nabu::store
