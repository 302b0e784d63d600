#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace nabu::volume {

// 64-bit keys to small values in one flat array: linear probing, deletion by shifting back (no
// tombstones), grows at 3/4. The key ~0 is reserved. Not thread safe.
template <class V>
class FlatMap {
 public:
  explicit FlatMap(std::size_t capacity = 64) { allocate(powerOfTwo(capacity * 4 / 3 + 1)); }

  V* find(std::uint64_t key) {
    for (std::size_t at = home(key);; at = (at + 1) & mask_) {
      if (cells_[at].key == key) return &cells_[at].value;
      if (cells_[at].key == kEmpty) return nullptr;
    }
  }
  const V* find(std::uint64_t key) const { return const_cast<FlatMap*>(this)->find(key); }

  /** The value of key, inserted as V{} when it was not there. Pointers die at the next change. */
  V& at(std::uint64_t key) {
    if ((size_ + 1) * 4 > cells_.size() * 3) grow();
    std::size_t at = home(key);
    for (; cells_[at].key != kEmpty; at = (at + 1) & mask_) {
      if (cells_[at].key == key) return cells_[at].value;
    }
    cells_[at] = Cell{key, V{}};
    ++size_;
    return cells_[at].value;
  }

  bool erase(std::uint64_t key) {
    std::size_t at = home(key);
    for (; cells_[at].key != key; at = (at + 1) & mask_) {
      if (cells_[at].key == kEmpty) return false;
    }
    // Pull back every following cell whose home does not lie behind the hole.
    for (std::size_t next = (at + 1) & mask_; cells_[next].key != kEmpty;
         next = (next + 1) & mask_) {
      if (((next - home(cells_[next].key)) & mask_) >= ((next - at) & mask_)) {
        cells_[at] = std::move(cells_[next]);
        at = next;
      }
    }
    cells_[at] = Cell{kEmpty, V{}};
    --size_;
    return true;
  }

  template <class F>
  void forEach(F&& visit) {
    for (auto& cell : cells_) {
      if (cell.key != kEmpty) visit(cell.key, cell.value);
    }
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Cell {
    std::uint64_t key = kEmpty;
    V value{};
  };

  static std::size_t powerOfTwo(std::size_t least) {
    std::size_t power = 16;
    while (power < least) power *= 2;
    return power;
  }
  // Fibonacci hashing: the keys are block numbers and locations, so neighbours must spread.
  std::size_t home(std::uint64_t key) const { return (key * 0x9e3779b97f4a7c15ULL) >> shift_; }

  void allocate(std::size_t cells) {
    cells_ = std::vector<Cell>(cells);
    mask_ = cells - 1;
    shift_ = 64;
    for (std::size_t n = cells; n > 1; n /= 2) --shift_;
    size_ = 0;
  }
  void grow() {
    std::vector<Cell> old = std::move(cells_);
    allocate(old.size() * 2);
    for (auto& cell : old) {
      if (cell.key != kEmpty) at(cell.key) = std::move(cell.value);
    }
  }

  std::vector<Cell> cells_;
  std::size_t mask_ = 0;
  int shift_ = 0;
  std::size_t size_ = 0;
};

}  // namespace nabu::volume
