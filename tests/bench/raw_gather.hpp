#pragma once
// The ceiling that the reading path is held against: rows gathered from a mapped file by hand. It
// is told where the rows lie, trusts every byte, and keeps all pages mapped. One thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lockstep::bench {

struct RawRows {
  std::string path;
  std::size_t inputs_offset = 0;   ///< of the first row in the file
  std::size_t targets_offset = 0;  ///< of the first class, i64
  std::size_t elements = 0;        ///< of a row
  bool bytes = false;              ///< elements are u8, to be divided by 255; else f32
};

class RawGather {
 public:
  /// Throws IoError when the file cannot be mapped.
  explicit RawGather(const RawRows& rows);
  ~RawGather();
  RawGather(const RawGather&) = delete;
  RawGather& operator=(const RawGather&) = delete;

  /// Rows order[begin, begin + count). `inputs`: [count, elements], `classes`: [count]. Prefetches
  /// past the end of them, as far as `order` goes.
  void operator()(std::span<const std::int64_t> order, std::size_t begin, std::size_t count,
                  float* inputs, std::int64_t* classes) const;
  /// How far ahead it prefetches, in segments of a row.
  void set_ahead(std::size_t segments) { ahead_ = segments; }

 private:
  const std::byte* row_at(std::int64_t row) const {
    return inputs_ + static_cast<std::size_t>(row) * row_bytes_;
  }
  void copy(const std::byte* from, std::size_t bytes, float* to) const;

  RawRows rows_;
  std::size_t row_bytes_;
  std::size_t segments_;  ///< of a row
  std::size_t ahead_ = 8;
  std::size_t mapped_bytes_ = 0;
  void* mapping_ = nullptr;
  const std::byte* inputs_ = nullptr;
  const std::int64_t* classes_ = nullptr;
};

}  // namespace lockstep::bench
