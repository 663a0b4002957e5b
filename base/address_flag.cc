// See address_flag.h.
#include "base/address_flag.h"

#include "base/strings.h"

namespace weft {

absl::StatusOr<SocketAddress> parse_address_flag(std::string_view program, std::string_view flag,
                                                 std::string_view text) {
  const auto address = SocketAddress::parse(text);
  if (address.has_value()) return *address;
  return absl::InvalidArgumentError(
      str_cat(flag, ": '", text, "' is not IP:PORT (0.0.0.0:15020, [::]:15020); next: ", program, " --help"));
}

}  // namespace weft
