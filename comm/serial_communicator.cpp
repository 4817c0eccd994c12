#include "comm/serial_communicator.hpp"

#include <algorithm>

namespace lockstep::comm {

SerialCommunicator::SerialCommunicator()
    : Communicator(0, 1, 0, std::make_shared<FailureRecord>()) {}

SerialCommunicator::SerialCommunicator(std::shared_ptr<FailureRecord> record)
    : Communicator(0, 1, 0, std::move(record)) {}

void SerialCommunicator::do_broadcast(const Operation&, std::span<std::byte>, int) {}

void SerialCommunicator::do_all_gather(const Operation&, std::span<const std::byte> mine,
                                       std::span<std::byte> all) {
  std::copy(mine.begin(), mine.end(), all.begin());
}

void SerialCommunicator::do_exchange(const Operation&, std::span<const Send>,
                                     std::span<const Receive>) {}

std::unique_ptr<Communicator> SerialCommunicator::do_split(const Operation&, int,
                                                           std::span<const int> members) {
  if (members.empty()) return nullptr;
  return std::unique_ptr<Communicator>(new SerialCommunicator(shared_record()));
}

void SerialCommunicator::do_announce(const Failure&) noexcept {}

void SerialCommunicator::do_poll() {}

}  // namespace lockstep::comm
