// An address as the value of a program's flag.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "base/address.h"

namespace weft {

// kInvalidArgument says the flag's name, what it should be and what to type.
absl::StatusOr<SocketAddress> parse_address_flag(std::string_view program, std::string_view flag,
                                                 std::string_view text);

}  // namespace weft
