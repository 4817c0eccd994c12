#include "raw_gather.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/vector_clones.hpp"

namespace lockstep::bench {
namespace {

constexpr std::size_t kLine = 64;
/// Rows are copied and prefetched in pieces of this size, so that long ones overlap as well.
constexpr std::size_t kSegmentBytes = 1024;

LOCKSTEP_VECTOR_CLONES
void widen(const std::uint8_t* __restrict in, std::size_t count, float* __restrict out) {
  constexpr float kGain = 1.0f / 255.0f;
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]) * kGain;
}

}  // namespace

RawGather::RawGather(const RawRows& rows)
    : rows_(rows),
      row_bytes_(rows.elements * (rows.bytes ? 1 : sizeof(float))),
      segments_((row_bytes_ + kSegmentBytes - 1) / kSegmentBytes) {
  const int file = ::open(rows.path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (file >= 0 && ::fstat(file, &status) == 0) {
    mapped_bytes_ = static_cast<std::size_t>(status.st_size);
    mapping_ = ::mmap(nullptr, mapped_bytes_, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
  }
  const int error = errno;
  if (file >= 0) ::close(file);
  if (mapping_ == nullptr || mapping_ == MAP_FAILED) {
    throw base::IoError("file " + base::quote(rows.path) + " cannot be mapped (" +
                            std::strerror(error) + "); name a file that can be read",
                        error);
  }
  const auto* begin = static_cast<const std::byte*>(mapping_);
  inputs_ = begin + rows.inputs_offset;
  classes_ = reinterpret_cast<const std::int64_t*>(begin + rows.targets_offset);
}

RawGather::~RawGather() { ::munmap(mapping_, mapped_bytes_); }

void RawGather::copy(const std::byte* from, std::size_t bytes, float* to) const {
  if (rows_.bytes) {
    widen(reinterpret_cast<const std::uint8_t*>(from), bytes, to);
  } else {
    std::memcpy(to, from, bytes);
  }
}

void RawGather::operator()(std::span<const std::int64_t> order, std::size_t begin,
                           std::size_t count, float* inputs, std::int64_t* classes) const {
  const auto segment_elements = kSegmentBytes / (rows_.bytes ? 1 : sizeof(float));
  auto next = begin + ahead_ / segments_;
  auto next_segment = ahead_ % segments_;
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = order[begin + i];
    for (std::size_t segment = 0; segment < segments_; ++segment) {
      // Not a function of its own: g++ 12 finds no effect in one, and leaves its calls out.
      if (ahead_ > 0 && next < order.size()) {
        const auto start = next_segment * kSegmentBytes;
        const auto* from = row_at(order[next]) + start;
        const auto bytes = std::min(kSegmentBytes, row_bytes_ - start);
        for (std::size_t line = 0; line < bytes; line += kLine) __builtin_prefetch(from + line);
        if (next_segment == 0) __builtin_prefetch(classes_ + order[next]);
      }
      if (++next_segment == segments_) {
        next_segment = 0;
        ++next;
      }
      const auto skipped = segment * kSegmentBytes;
      copy(row_at(row) + skipped, std::min(kSegmentBytes, row_bytes_ - skipped),
           inputs + i * rows_.elements + segment * segment_elements);
    }
    classes[i] = classes_[row];
  }
}

}  // namespace lockstep::bench
