// Whether one connection makes all the requests of a worker, where bytes that a TCP connection or a tunnel
// brings count as one. Only for that one does the worker look for the next step before it sleeps
// (net/wait_policy.h): the requests of many leave as little time between them, and looking through it would
// cost more than being woken. Worker thread only.
#pragma once

#include <cstdint>

namespace weft::proxy {

class SoleClient {
 public:
  // A request on the connection from this port; two with the same port count as one.
  void asks(uint16_t port) {
    in_a_row_ = port == port_ ? in_a_row_ + 1 : 0;
    port_ = port;
  }
  bool is() const { return in_a_row_ >= kInARow; }
  // What the loop is told of so many exchanges: of many clients there is always more than one under way.
  uint64_t in_flight(uint64_t active) const { return is() || active > 1 ? active : 2; }

 private:
  static constexpr uint32_t kInARow = 16;

  uint32_t in_a_row_ = 0;
  uint16_t port_ = 0;
};

}  // namespace weft::proxy
