#include "store/owners.h"

#include <algorithm>

namespace nabu::store {

bool OwnerRule::covers(const WriterEpoch& epoch, uint64_t sequence, bool log,
                       uint64_t stampOfRecord) const {
  if (stampOfRecord > stamp) return false;
  if (!log) return whole();
  if (generation && *generation != epoch.generation) return false;
  if (incarnation && *incarnation != epoch.incarnation) return false;
  if (sequence < range.from || sequence > range.to) return false;
  return std::none_of(pins.begin(), pins.end(), [sequence](const SequenceRange& pin) {
    return sequence >= pin.from && sequence <= pin.to;
  });
}

Owner* OwnerTable::find(const uint8_t* id) {
  Id16 key;
  std::copy_n(id, 16, key.begin());
  const auto found = owners_.find(key);
  return found == owners_.end() ? nullptr : found->second.get();
}

Owner& OwnerTable::get(const uint8_t* id) {
  Id16 key;
  std::copy_n(id, 16, key.begin());
  auto& owner = owners_[key];
  if (!owner) {
    owner = std::make_unique<Owner>();
    owner->id = key;
  }
  return *owner;
}

uint32_t OwnerTable::slotFor(Owner& owner, const WriterEpoch& epoch) {
  const auto found = owner.slots.find(epoch);
  if (found != owner.slots.end()) return found->second;
  uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot] = {&owner, epoch, 0};
  owner.slots[epoch] = slot;
  return slot;
}

void OwnerTable::dropReference(uint32_t slot) {
  if (slot == 0 || --slots_[slot].references != 0) return;
  if (held_) {
    deferred_.push_back(slot);
  } else {
    release(slot);
  }
}

void OwnerTable::release(uint32_t slot) {
  Slot& dead = slots_[slot];
  if (dead.references != 0 || dead.owner == nullptr) return;  // taken again, or released twice
  Owner& owner = *dead.owner;
  owner.slots.erase(dead.epoch);
  dead = {};
  free_.push_back(slot);
  forgetIfEmpty(owner);
}

void OwnerTable::holdSlots(bool hold) {
  held_ = hold;
  if (hold) return;
  std::vector<uint32_t> slots;
  slots.swap(deferred_);
  for (const uint32_t slot : slots) release(slot);
}

void OwnerTable::restoreSlot(uint32_t slot, const uint8_t* id, const WriterEpoch& epoch) {
  while (slots_.size() <= slot) {
    if (slots_.size() < slot) free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  std::erase(free_, slot);
  Owner& owner = get(id);
  slots_[slot] = {&owner, epoch, 0};
  owner.slots[epoch] = slot;
}

void OwnerTable::forgetIfEmpty(Owner& owner) {
  if (owner.hasState || !owner.rules.empty() || !owner.slots.empty() || !owner.appending.empty() ||
      owner.next.fence != WriterEpoch{}) {
    return;
  }
  owners_.erase(Id16(owner.id));
}

size_t OwnerTable::withState() const {
  size_t count = 0;
  for (const auto& [id, owner] : owners_) count += owner->hasState ? 1 : 0;
  return count;
}

}  // namespace nabu::store
