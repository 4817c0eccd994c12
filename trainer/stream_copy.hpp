#pragma once
// Copies of the state that nobody reads soon. Used by Snapshot and KeptState. Any thread.

#include <cstddef>
#include <span>

namespace lockstep::trainer {

/// Copies past the cache, so that the old contents of `to` need not be fetched. It takes about six
/// tenths of memcpy's time where `from` is in the cache. Other threads see it after end_streams.
void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes);
void end_streams();

/// Has the kernel give the pages of `memory`, which begins at one, before they are written.
void populate(std::span<std::byte> memory);

}  // namespace lockstep::trainer
