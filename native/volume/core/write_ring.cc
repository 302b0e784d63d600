#include "volume/core/write_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ec/crc32c.h"

namespace nabu::volume {
namespace {

constexpr std::uint64_t kMagic = 0x474e495244424eULL;  // NBDRING
constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kVersionWithoutJournal = 1;
constexpr std::uint64_t kMinDataBytes = std::uint64_t{2} << 20;
constexpr std::uint64_t kMaxDataBytes = std::uint64_t{4} << 30;
// Of the data: a write of one block takes 32 bytes of it, a flush of one block 176.
constexpr std::uint64_t kJournalShare = 4;

// First page of the memfd.
struct Superblock {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t checksum;  // of the fields below, up to tail
  VolumeId volumeId;
  std::uint64_t dataBytes;
  std::uint64_t descriptorCount;
  std::uint64_t descriptorsAt;
  std::uint64_t dataAt;
  std::uint64_t id;
  std::uint64_t journalAt;  // of version 2; 0 in version 1
  std::uint64_t journalBytes;
  alignas(64) std::atomic<std::uint64_t> tail;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

std::uint32_t superblockCrc(const Superblock& s) {
  const std::size_t fields = s.version == kVersionWithoutJournal ? 5 : 7;
  return ec::crc32c(&s.volumeId, sizeof s.volumeId + fields * sizeof(std::uint64_t));
}

Error system(const char* call) { return {Failure::kSystem, call, std::strerror(errno)}; }

}  // namespace

struct alignas(64) WriteRing::Descriptor {
  std::atomic<std::uint64_t> stamp;  // index + 1, stored last; 0 = never used
  std::uint32_t op;
  std::uint32_t checksum;  // of the fields from `index` on, and op
  std::uint64_t index;
  std::uint64_t block;
  std::uint64_t count;
  std::uint64_t position;
  std::uint64_t unique;
  std::uint64_t reserved;

  std::uint32_t crc() const {
    return ec::crc32c(&index, 6 * sizeof(std::uint64_t), ec::crc32c(&op, sizeof op));
  }
};

Result<int> WriteRing::createMemfd(const VolumeId& volumeId, std::uint64_t dataBytes) {
  if (dataBytes < kMinDataBytes || dataBytes > kMaxDataBytes || dataBytes % kBlockBytes != 0) {
    return Error{Failure::kBadArgument, "ringBytes",
                 "must be a multiple of 4096 between 2 MiB and 4 GiB"};
  }
  // Twice as many descriptors as blocks: trims take one and no data.
  const std::uint64_t descriptors = std::max<std::uint64_t>(4096, 2 * dataBytes / kBlockBytes);
  const std::uint64_t descriptorBytes =
      (descriptors * sizeof(Descriptor) + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  const std::uint64_t journalBytes = dataBytes / kJournalShare / kBlockBytes * kBlockBytes;
  const std::uint64_t total = kBlockBytes + descriptorBytes + dataBytes + journalBytes;
  const int fd = memfd_create("nabu-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return system("memfd_create");
  const auto fail = [&](const char* call) -> Result<int> {
    Error error = system(call);
    close(fd);
    return error;
  };
  if (ftruncate(fd, static_cast<off_t>(total)) != 0) return fail("ftruncate");
  // Memory is taken now: a write to the ring must not fail for want of it later.
  if (posix_fallocate(fd, 0, static_cast<off_t>(total)) != 0) return fail("fallocate");
  void* page = mmap(nullptr, kBlockBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return fail("mmap");
  auto* super = static_cast<Superblock*>(page);
  super->magic = kMagic;
  super->version = kVersion;
  super->volumeId = volumeId;
  super->dataBytes = dataBytes;
  super->descriptorCount = descriptors;
  super->descriptorsAt = kBlockBytes;
  super->dataAt = kBlockBytes + descriptorBytes;
  if (getrandom(&super->id, sizeof super->id, 0) != sizeof super->id) return fail("getrandom");
  super->journalAt = super->dataAt + dataBytes;
  super->journalBytes = journalBytes;
  super->id |= 1;  // 0 is no ring's
  super->tail.store(0);
  super->checksum = superblockCrc(*super);
  munmap(page, kBlockBytes);
  // Nobody may cut the mapping of a server short.
  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return fd;
}

Result<std::unique_ptr<WriteRing>> WriteRing::open(int memfd, const VolumeId& volumeId) {
  struct stat status {};
  if (fstat(memfd, &status) != 0) return system("fstat");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < 2 * kBlockBytes) {
    return Error{Failure::kUnknownFormat, "write ring", "none: too short"};
  }
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memfd, 0);
  if (base == MAP_FAILED) return system("mmap");
  std::unique_ptr<WriteRing> ring(new WriteRing);
  ring->base_ = static_cast<std::byte*>(base);
  ring->mappedBytes_ = size;
  // Locking may be refused (RLIMIT_MEMLOCK): the memory is there either way, only swap could take
  // it.
  (void)mlock(base, size);
  auto* super = static_cast<Superblock*>(base);
  if (super->magic != kMagic) return Error{Failure::kUnknownFormat, "write ring", "none: no magic"};
  if (super->version != kVersion && super->version != kVersionWithoutJournal) {
    return Error{Failure::kUnknownFormat, "write ring", std::to_string(super->version)};
  }
  const bool withJournal = super->version == kVersion;
  if (super->checksum != superblockCrc(*super) ||
      (withJournal && (super->journalAt % kBlockBytes != 0 || super->journalAt > size ||
                       super->journalBytes > size - super->journalAt)) ||
      super->dataBytes > size || super->dataBytes == 0 || super->dataAt > size - super->dataBytes ||
      super->descriptorCount == 0 || super->descriptorCount > size / sizeof(Descriptor) ||
      super->descriptorsAt != kBlockBytes ||
      super->descriptorsAt + super->descriptorCount * sizeof(Descriptor) > super->dataAt) {
    return Error{Failure::kUnknownFormat, "write ring", "a damaged superblock"};
  }
  if (super->volumeId != volumeId) {
    return Error{Failure::kWrongState, "opening the write ring", "it belongs to another volume"};
  }
  ring->descriptors_ = reinterpret_cast<Descriptor*>(ring->base_ + super->descriptorsAt);
  ring->descriptorCount_ = super->descriptorCount;
  ring->data_ = ring->base_ + super->dataAt;
  ring->dataBytes_ = super->dataBytes;
  ring->id_ = super->id;
  if (withJournal) ring->journal_ = {ring->base_ + super->journalAt, super->journalBytes};
  ring->tail_ = &super->tail;
  for (auto& pin : ring->pins_) pin.store(~std::uint64_t{0});
  ring->recover();
  return ring;
}

WriteRing::~WriteRing() {
  if (base_ != nullptr) munmap(base_, mappedBytes_);
}

WriteRing::Descriptor& WriteRing::descriptor(std::uint64_t index) const {
  return descriptors_[index % descriptorCount_];
}

std::optional<RingRecord> WriteRing::published(std::uint64_t index) const {
  const Descriptor& d = descriptor(index);
  if (d.stamp.load(std::memory_order_acquire) != index + 1) return std::nullopt;
  return RingRecord{index, static_cast<RingOp>(d.op), d.block, d.count, d.position, d.unique};
}

void WriteRing::recover() {
  const std::uint64_t tail = tail_->load();
  std::uint64_t head = tail;
  std::uint64_t dataHead = 0;
  starts_.assign(descriptorCount_, 0);
  for (std::uint64_t i = 0; i < descriptorCount_; ++i) {
    const Descriptor& d = descriptors_[i];
    const std::uint64_t stamp = d.stamp.load(std::memory_order_acquire);
    if (stamp == 0 || (stamp - 1) % descriptorCount_ != i || d.index != stamp - 1) continue;
    if (d.crc() != d.checksum) continue;
    seenUniques_.push_back(d.unique);
    const std::uint64_t bytes =
        d.op == static_cast<std::uint32_t>(RingOp::kWrite) ? d.count * kBlockBytes : 0;
    dataHead = std::max(dataHead, d.position + bytes);
    if (d.index < tail || d.index >= tail + descriptorCount_) continue;
    if (d.count > kMaxVolumeBytes / kBlockBytes || bytes > dataBytes_) continue;
    if (d.position % dataBytes_ + bytes > dataBytes_) continue;
    found_.push_back(d.index);
    head = std::max(head, d.index + 1);
  }
  std::sort(found_.begin(), found_.end());
  std::sort(seenUniques_.begin(), seenUniques_.end());
  // Places that were reserved and never published keep the start of the record after them.
  std::uint64_t start = dataHead;
  for (std::uint64_t index = head; index-- > tail;) {
    if (const auto record = published(index);
        record && std::binary_search(found_.begin(), found_.end(), index)) {
      start = record->position;
    } else {
      // A stamp of this round with a bad checksum must not come to life later.
      descriptor(index).stamp.store(0, std::memory_order_release);
    }
    starts_[index % descriptorCount_] = start;
  }
  head_.store(head, std::memory_order_release);
  dataHead_ = dataHead;
}

std::uint64_t WriteRing::oldestInUse() const {
  std::uint64_t oldest = tail_->load(std::memory_order_seq_cst);
  for (const auto& pin : pins_) oldest = std::min(oldest, pin.load(std::memory_order_seq_cst));
  return oldest;
}

std::optional<RingRecord> WriteRing::reserve(RingOp op, std::uint64_t block, std::uint64_t count) {
  const std::uint64_t bytes = op == RingOp::kWrite ? count * kBlockBytes : 0;
  const std::lock_guard lock(mutex_);
  const std::uint64_t index = head_.load(std::memory_order_relaxed);
  const std::uint64_t oldest = oldestInUse();
  if (index - oldest >= descriptorCount_) return std::nullopt;
  std::uint64_t position = dataHead_;
  const std::uint64_t toEnd = dataBytes_ - position % dataBytes_;
  if (bytes > toEnd) position += toEnd;  // a record's data is contiguous
  const std::uint64_t dataTail = oldest == index ? dataHead_ : starts_[oldest % descriptorCount_];
  if (position + bytes - dataTail > dataBytes_) return std::nullopt;
  dataHead_ = position + bytes;
  starts_[index % descriptorCount_] = position;
  head_.store(index + 1, std::memory_order_release);
  return RingRecord{index, op, block, count, position, 0};
}

void WriteRing::publish(const RingRecord& record) {
  Descriptor& d = descriptor(record.index);
  // An exchange, because the stores below must not come before it; fences are unknown to the thread
  // sanitizer.
  d.stamp.exchange(0, std::memory_order_acq_rel);
  d.op = static_cast<std::uint32_t>(record.op);
  d.index = record.index;
  d.block = record.block;
  d.count = record.count;
  d.position = record.position;
  d.unique = record.unique;
  d.reserved = 0;
  d.checksum = d.crc();
  d.stamp.store(record.index + 1, std::memory_order_release);
}

void WriteRing::release(std::uint64_t index) {
  if (index > tail()) tail_->store(index, std::memory_order_seq_cst);
}

std::uint64_t WriteRing::usedBytes() const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t index = head_.load(std::memory_order_relaxed);
  const std::uint64_t tail = tail_->load();
  return tail == index ? 0 : dataHead_ - starts_[tail % descriptorCount_];
}

WriteRing::Pin::Pin(WriteRing& ring, int reader)
    : slot_(ring.pins_[static_cast<std::size_t>(reader)]) {
  // Announce, then look again: whoever frees after the second look sees the pin.
  std::uint64_t tail = ring.tail();
  while (true) {
    slot_.store(tail, std::memory_order_seq_cst);
    const std::uint64_t now = ring.tail();
    if (now == tail) return;
    tail = now;
  }
}

void WriteRing::dropSeen() {
  found_ = {};
  seenUniques_ = {};
}

}  // namespace nabu::volume
