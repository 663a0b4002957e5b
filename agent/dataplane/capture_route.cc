// Rule and route of capture over rtnetlink. Called by enrolment, un-enrolment and cleanup; brings no
// interface up.
#include "agent/dataplane/capture_route.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "agent/dataplane/rtnetlink.h"
#include "base/address.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr std::array<uint8_t, 2> kFamilies = {AF_INET, AF_INET6};

const char* family_name(uint8_t family) { return family == AF_INET ? "IPv4" : "IPv6"; }

// Lower is better; 0xff: not usable as a source address now.
int address_rank(const ifaddrmsg& address, uint32_t flags, uint32_t loopback) {
  if (address.ifa_index == loopback || address.ifa_scope >= RT_SCOPE_LINK) return 0xff;
  // The kernel refuses a tentative address as preferred source (ip6_route_info_create).
  if (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) return 0xff;
  return ((flags & IFA_F_DEPRECATED) ? 4 : 0) + ((flags & IFA_F_TEMPORARY) ? 2 : 0) +
         ((flags & IFA_F_SECONDARY) ? 1 : 0);
}

struct SourceAddress {
  std::optional<IpAddress> best;  // that captured connections come from
  bool unusable = false;          // the family has addresses, but none that may be a source now
};

absl::StatusOr<SourceAddress> source_address(RouteSocket& route, uint8_t family, uint32_t loopback) {
  ifaddrmsg fixed{};
  fixed.ifa_family = family;
  SourceAddress found;
  int best_rank = 0xff;
  RETURN_IF_ERROR(route.dump(NetlinkRequest(RTM_GETADDR, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
    const auto& address = *static_cast<const ifaddrmsg*>(NLMSG_DATA(message));
    const NetlinkAttributes attributes(message, sizeof(ifaddrmsg));
    std::span<const uint8_t> bytes =
        attributes.get(IFA_LOCAL);  // differs from IFA_ADDRESS on point-to-point links
    if (bytes.empty()) bytes = attributes.get(IFA_ADDRESS);
    const int rank = address_rank(address, attributes.get_u32(IFA_FLAGS, address.ifa_flags), loopback);
    const auto ip =
        IpAddress::from_packed(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    if (address.ifa_family != family || !ip) return;
    const bool outside = address.ifa_index != loopback && address.ifa_scope < RT_SCOPE_LINK;
    found.unusable = found.unusable || (outside && rank == 0xff);
    if (rank >= best_rank) return;
    found.best = ip;
    best_rank = rank;
  }));
  return found;
}

NetlinkRequest rule_request(uint16_t type, uint16_t flags, uint8_t family) {
  fib_rule_hdr fixed{};
  fixed.family = family;
  fixed.action = FR_ACT_TO_TBL;
  NetlinkRequest request(type, flags, fixed);
  request.add_u32(FRA_PRIORITY, WEFT_RULE_PRIORITY);
  request.add_u32(FRA_FWMARK, WEFT_MARK_CAPTURE);
  request.add_u32(FRA_FWMASK, WEFT_MARK_MASK);
  request.add_u32(FRA_TABLE, WEFT_ROUTE_TABLE);
  request.add_u8(FRA_PROTOCOL, WEFT_ROUTE_PROTOCOL);
  return request;
}

NetlinkRequest route_request(uint16_t type, uint16_t flags, uint8_t family, uint32_t loopback) {
  rtmsg fixed{};
  fixed.rtm_family = family;
  fixed.rtm_protocol = WEFT_ROUTE_PROTOCOL;
  fixed.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  fixed.rtm_type = RTN_LOCAL;
  NetlinkRequest request(type, flags, fixed);
  request.add_u32(RTA_TABLE, WEFT_ROUTE_TABLE);
  request.add_u32(RTA_OIF, loopback);
  return request;
}

absl::Status install_family(RouteSocket& route, uint8_t family, const IpAddress& source, uint32_t loopback) {
  NetlinkRequest request =
      route_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, family, loopback);
  const std::string packed = source.packed();
  request.add(RTA_PREFSRC, std::span(reinterpret_cast<const uint8_t*>(packed.data()), packed.size()));
  ASSIGN_OR_RETURN(const int route_error, route.request(std::move(request)));
  if (route_error == ENETDOWN) {
    return absl::FailedPreconditionError(
        "loopback is down in this namespace: run `ip link set lo up` in it, then enroll again");
  }
  if (route_error != 0)
    return errno_status(str_cat("add the ", family_name(family), " capture route"), route_error);
  ASSIGN_OR_RETURN(const int rule_error,
                   route.request(rule_request(RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, family)));
  if (rule_error != 0 && rule_error != EEXIST) {
    return errno_status(str_cat("add the ", family_name(family), " capture rule"), rule_error);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> count_rules(RouteSocket& route, uint8_t family) {
  fib_rule_hdr fixed{};
  fixed.family = family;
  int count = 0;
  RETURN_IF_ERROR(route.dump(NetlinkRequest(RTM_GETRULE, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
    const NetlinkAttributes attributes(message, sizeof(fib_rule_hdr));
    if (attributes.get_u32(FRA_TABLE, 0) == WEFT_ROUTE_TABLE &&
        attributes.get_u8(FRA_PROTOCOL, 0) == WEFT_ROUTE_PROTOCOL)
      ++count;
  }));
  return count;
}

absl::StatusOr<int> count_routes(RouteSocket& route, uint8_t family) {
  rtmsg fixed{};
  fixed.rtm_family = family;
  int count = 0;
  RETURN_IF_ERROR(route.dump(NetlinkRequest(RTM_GETROUTE, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
    const auto& header = *static_cast<const rtmsg*>(NLMSG_DATA(message));
    const NetlinkAttributes attributes(message, sizeof(rtmsg));
    if (attributes.get_u32(RTA_TABLE, header.rtm_table) == WEFT_ROUTE_TABLE &&
        header.rtm_protocol == WEFT_ROUTE_PROTOCOL)
      ++count;
  }));
  return count;
}

// The sources that our routes give captured connections; empty: there is no route of ours.
absl::StatusOr<std::vector<IpAddress>> routed_sources(RouteSocket& route, uint8_t family) {
  rtmsg fixed{};
  fixed.rtm_family = family;
  std::vector<IpAddress> found;
  RETURN_IF_ERROR(route.dump(NetlinkRequest(RTM_GETROUTE, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
    const auto& header = *static_cast<const rtmsg*>(NLMSG_DATA(message));
    const NetlinkAttributes attributes(message, sizeof(rtmsg));
    if (attributes.get_u32(RTA_TABLE, header.rtm_table) != WEFT_ROUTE_TABLE ||
        header.rtm_protocol != WEFT_ROUTE_PROTOCOL)
      return;
    const std::span<const uint8_t> packed = attributes.get(RTA_PREFSRC);
    const auto ip =
        IpAddress::from_packed(std::string_view(reinterpret_cast<const char*>(packed.data()), packed.size()));
    found.push_back(ip.value_or(IpAddress()));
  }));
  return found;
}

// Empty: rule and route are there, and the route's source is `source`.
absl::StatusOr<std::string> difference_of(RouteSocket& route, uint8_t family, const IpAddress& source) {
  ASSIGN_OR_RETURN(const int rules, count_rules(route, family));
  if (rules == 0)
    return str_cat("the ", family_name(family), " rule ", WEFT_RULE_PRIORITY, " is missing in the namespace");
  ASSIGN_OR_RETURN(const std::vector<IpAddress> now, routed_sources(route, family));
  const std::string name = str_cat("the ", family_name(family), " route of table ", WEFT_ROUTE_TABLE);
  if (now.empty()) return str_cat(name, " is missing in the namespace");
  if (std::ranges::find(now, source) != now.end()) return std::string();
  return str_cat(name, " is stale: its source is ", now.front().to_string(), ", the namespace has ",
                 source.to_string());
}

}  // namespace

absl::StatusOr<CaptureRoute> install_capture_route() {
  const uint32_t loopback = if_nametoindex("lo");
  ASSIGN_OR_RETURN(RouteSocket route, RouteSocket::open());
  CaptureRoute result;
  for (const uint8_t family : kFamilies) {
    ASSIGN_OR_RETURN(const SourceAddress source, source_address(route, family, loopback));
    if (!source.best) {
      if (source.unusable)
        str_append(&result.missing, result.missing.empty() ? "" : "; ", family_name(family),
                   " is not captured: its address is tentative or failed duplicate address detection");
      continue;
    }
    ASSIGN_OR_RETURN(const std::string difference, difference_of(route, family, *source.best));
    if (!difference.empty()) {
      RETURN_IF_ERROR(install_family(route, family, *source.best, loopback));
      result.changed.push_back(family_name(family));
    }
    result.steps.push_back(str_cat("routed captured ", family_name(family), " connections of ",
                                   source.best->to_string(), " to loopback (rule ", WEFT_RULE_PRIORITY,
                                   ", table ", WEFT_ROUTE_TABLE, ")"));
  }
  if (result.steps.empty()) {
    return absl::FailedPreconditionError(
        "the namespace has no usable address outside loopback: give its interface one (`ip addr`), then "
        "enroll "
        "again");
  }
  return result;
}

absl::StatusOr<std::vector<std::string>> inspect_capture_route() {
  const uint32_t loopback = if_nametoindex("lo");
  ASSIGN_OR_RETURN(RouteSocket route, RouteSocket::open());
  std::vector<std::string> out;
  for (const uint8_t family : kFamilies) {
    ASSIGN_OR_RETURN(const SourceAddress source, source_address(route, family, loopback));
    if (!source.best) continue;
    ASSIGN_OR_RETURN(std::string difference, difference_of(route, family, *source.best));
    if (!difference.empty()) out.push_back(std::move(difference));
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> remove_capture_route() {
  const uint32_t loopback = if_nametoindex("lo");
  ASSIGN_OR_RETURN(RouteSocket route, RouteSocket::open());
  std::vector<std::string> removed;
  for (const uint8_t family : kFamilies) {
    ASSIGN_OR_RETURN(const int rules, count_rules(route, family));
    for (int i = 0; i < rules; ++i) {
      ASSIGN_OR_RETURN(const int error, route.request(rule_request(RTM_DELRULE, NLM_F_ACK, family)));
      if (error != 0) return errno_status("remove the capture rule", error);
      removed.push_back(str_cat("removed ", family_name(family), " rule ", WEFT_RULE_PRIORITY));
    }
    ASSIGN_OR_RETURN(const int routes, count_routes(route, family));
    for (int i = 0; i < routes; ++i) {
      ASSIGN_OR_RETURN(const int error,
                       route.request(route_request(RTM_DELROUTE, NLM_F_ACK, family, loopback)));
      if (error != 0) return errno_status("remove the capture route", error);
      removed.push_back(str_cat("removed ", family_name(family), " route of table ", WEFT_ROUTE_TABLE));
    }
  }
  return removed;
}

}  // namespace weft::agent
