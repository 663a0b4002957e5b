// The secret that the keys of session tickets are made from, the same for all workers of the process and
// another one in each period: of earlier ones nothing is left, so that who reads the process's memory cannot
// read what was said before (forward secrecy, RFC 8446 §2.2). Thread-safe.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"

namespace weft::proxy {

using TicketSecret = std::array<unsigned char, 32>;

// Twelve hours of the time since the machine started: what was resumed yesterday is not.
uint64_t ticket_period();
// Of that period, or of a later one that was asked for already. Another one after a restart.
absl::StatusOr<TicketSecret> ticket_secret(uint64_t period);

}  // namespace weft::proxy
