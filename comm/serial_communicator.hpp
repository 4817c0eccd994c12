#pragma once
// The group of one: every operation is done as soon as it is called. Used without a launcher and
// as the reference in tests. Thread rule as for Communicator.

#include "comm/communicator.hpp"

namespace lockstep::comm {

class SerialCommunicator final : public Communicator {
 public:
  SerialCommunicator();

 private:
  explicit SerialCommunicator(std::shared_ptr<FailureRecord> record);

  void do_broadcast(const Operation& operation, std::span<std::byte> bytes, int root) override;
  void do_all_gather(const Operation& operation, std::span<const std::byte> mine,
                     std::span<std::byte> all) override;
  void do_exchange(const Operation& operation, std::span<const Send> sends,
                   std::span<const Receive> receives) override;
  std::unique_ptr<Communicator> do_split(const Operation& operation, int color,
                                         std::span<const int> members) override;
  void do_announce(const Failure& failure) noexcept override;
  void do_poll() override;
};

}  // namespace lockstep::comm
