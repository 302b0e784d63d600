#include "volume/fuse/request_slots.h"

namespace nabu::volume::fuse {
namespace {
constexpr std::size_t kLargeSlot = Slot::kDataAt + kMaxWriteBytes;
constexpr std::size_t kSmallSlot = Slot::kDataAt + RequestSlots::kSmallBytes;
}  // namespace

std::size_t RequestSlots::memoryBytes(std::size_t large, std::size_t small) {
  return large * kLargeSlot + small * kSmallSlot;
}

std::unique_ptr<RequestSlots> RequestSlots::create(std::size_t large, std::size_t small,
                                                   SharedMemory from) {
  std::unique_ptr<RequestSlots> slots(new RequestSlots(large, small, from));
  return slots->memory_.bytes() == nullptr ? nullptr : std::move(slots);
}

RequestSlots::RequestSlots(std::size_t large, std::size_t small, SharedMemory from)
    : memory_(memoryBytes(large, small), from) {
  std::byte* at = memory_.bytes();
  if (at == nullptr) return;
  for (std::size_t i = 0; i < large + small; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->small = i >= large;
    slot->memory = at;
    at += slot->small ? kSmallSlot : kLargeSlot;
    (slot->small ? small_ : large_).push_back(slot.get());
    slots_.push_back(std::move(slot));
  }
}

Slot* RequestSlots::take(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    auto& from = bytes <= kSmallBytes && !small_.empty() ? small_ : large_;
    if (!from.empty()) {
      Slot* slot = from.back();
      from.pop_back();
      return slot;
    }
    freed_.wait(lock);
  }
  return nullptr;
}

void RequestSlots::give(Slot& slot) {
  {
    const std::lock_guard lock(mutex_);
    (slot.small ? small_ : large_).push_back(&slot);
  }
  freed_.notify_one();
}

void RequestSlots::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  freed_.notify_all();
}

}  // namespace nabu::volume::fuse
