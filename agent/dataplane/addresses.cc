// See addresses.h. Called by enrolment, inspection and once for the node itself.
#include "agent/dataplane/addresses.h"

#include <linux/if_addr.h>

#include "agent/dataplane/rtnetlink.h"
#include "base/status_macros.h"

namespace weft::agent {

absl::StatusOr<std::vector<IpAddress>> local_addresses() {
  ASSIGN_OR_RETURN(RouteSocket route, RouteSocket::open());
  std::vector<IpAddress> found;
  ifaddrmsg fixed{};
  RETURN_IF_ERROR(route.dump(NetlinkRequest(RTM_GETADDR, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
    const auto& address = *static_cast<const ifaddrmsg*>(NLMSG_DATA(message));
    const NetlinkAttributes attributes(message, sizeof(ifaddrmsg));
    std::span<const uint8_t> bytes = attributes.get(IFA_LOCAL);
    if (bytes.empty()) bytes = attributes.get(IFA_ADDRESS);
    const auto ip =
        IpAddress::from_packed(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    if (!ip || ip->is_loopback() || address.ifa_scope >= RT_SCOPE_LINK) return;
    found.push_back(*ip);
  }));
  return found;
}

}  // namespace weft::agent
