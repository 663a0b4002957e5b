// Enrolment and its undoing, in the order that keeps traffic whole: everything a captured SYN needs exists
// before the row of m_netns starts the capture, and that row is the first thing to go.
#include <fcntl.h>

#include <algorithm>
#include <functional>

#include "agent/dataplane/addresses.h"
#include "agent/dataplane/capture_route.h"
#include "agent/dataplane/captured_connections.h"
#include "agent/dataplane/close_connections.h"
#include "agent/dataplane/kernel_dataplane.h"
#include "agent/dataplane/listener.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/open_connections.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

// The namespace at `path`, if it still is the one of `cookie`: the path may be gone, or by now name another.
absl::StatusOr<UniqueFd> open_same_netns(const std::string& path, uint64_t cookie) {
  absl::StatusOr<UniqueFd> netns = open_netns(path);
  if (!netns.ok()) return absl::NotFoundError(str_cat(path, ": ", netns.status().message()));
  const absl::StatusOr<uint64_t> found = netns_cookie(netns->get());
  if (!found.ok() || *found != cookie) return absl::NotFoundError(str_cat(path, ": another namespace now"));
  return netns;
}

}  // namespace

class KernelDataplane::Undo {
 public:
  ~Undo() {
    for (auto it = steps_.rbegin(); it != steps_.rend(); ++it) (*it)();
  }
  void push(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void keep() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

std::optional<uint32_t> KernelDataplane::free_slot() const {
  std::vector<bool> used(WEFT_MAX_NAMESPACES);
  for (const uint64_t cookie : netns_.keys(WEFT_MAX_NAMESPACES)) {
    if (const auto row = netns_.find(cookie)) used[row->slot % WEFT_MAX_NAMESPACES] = true;
  }
  for (const auto& [cookie, slot] : leaving_) used[slot % WEFT_MAX_NAMESPACES] = true;
  for (uint32_t slot = 0; slot < WEFT_MAX_NAMESPACES; ++slot) {
    if (!used[slot]) return slot;
  }
  return std::nullopt;
}

// User space reads a socket map as socket cookies; an empty slot answers ENOENT.
bool KernelDataplane::slot_is_live(uint32_t slot) const { return slots_.find(slot).has_value(); }

absl::Status KernelDataplane::open_listeners(uint64_t cookie, uint32_t slot, int netns_fd, Undo& undo,
                                             std::vector<std::string>& steps) {
  std::vector<UniqueFd> listeners;
  RETURN_IF_ERROR(run_in_netns(netns_fd, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(listeners, open_capture_listeners(options_.listeners_per_namespace));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(slots_.put(slot, static_cast<uint64_t>(listeners[0].get())));
  undo.push([this, cookie, slot] {
    slots_.erase(slot);
    listeners_.erase(cookie);
  });
  steps.push_back(str_cat("opened ", listeners.size(), " capture listener(s) on port ", WEFT_PORT_OUTBOUND));
  listeners_[cookie] = std::move(listeners);
  return absl::OkStatus();
}

absl::Status KernelDataplane::open_inbound(const NamespacePlan& plan, uint64_t cookie, uint32_t slot,
                                           int netns_fd, std::vector<std::string>& steps) {
  if (plan.tunnels) RETURN_IF_ERROR(open_inbound(kTunnelListeners, cookie, slot, netns_fd, steps));
  if (plan.inspected) RETURN_IF_ERROR(open_inbound(kPlaintextListeners, cookie, slot, netns_fd, steps));
  return absl::OkStatus();
}

// Behind the capture listeners, of which the first is in the slot.
absl::Status KernelDataplane::open_inbound(const InboundListeners& group, uint64_t cookie, uint32_t slot,
                                           int netns_fd, std::vector<std::string>& steps) {
  std::vector<UniqueFd>& held = listeners_[cookie];
  // Those that only a running proxy holds come back with it.
  if (held.empty()) return absl::OkStatus();
  const auto in_group = [&group](const UniqueFd& listener) { return is_of(group, listener); };
  if (std::any_of(held.begin(), held.end(), in_group)) return put_inbound(group, slot, held);
  RETURN_IF_ERROR(run_in_netns(netns_fd, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<UniqueFd> opened,
                     open_inbound_listeners(group, options_.listeners_per_namespace));
    for (UniqueFd& one : opened) held.push_back(std::move(one));
    return absl::OkStatus();
  }));
  steps.push_back(str_cat("opened ", group.port == WEFT_PORT_HBONE ? "tunnel" : "inbound",
                          " listener(s) on port ", group.port));
  return put_inbound(group, slot, held);
}

// Without one nobody can open a tunnel, and the fail mode decides about plain connections that are inspected.
absl::Status KernelDataplane::put_inbound(const InboundListeners& group, uint32_t slot,
                                          const std::vector<UniqueFd>& listeners) {
  const auto found = std::find_if(listeners.begin(), listeners.end(),
                                  [&group](const UniqueFd& listener) { return is_of(group, listener); });
  if (found == listeners.end()) return absl::OkStatus();
  return inbound_slots_.put(slot * WEFT_INBOUND_LISTENERS + group.which, static_cast<uint64_t>(found->get()));
}

absl::Status KernelDataplane::put_inbound(uint32_t slot, const std::vector<UniqueFd>& listeners) {
  RETURN_IF_ERROR(put_inbound(kTunnelListeners, slot, listeners));
  return put_inbound(kPlaintextListeners, slot, listeners);
}

absl::Status KernelDataplane::write_rows(const NamespacePlan& plan, uint64_t cookie, uint32_t slot,
                                         const std::optional<weft_netns>& before, Undo& undo) {
  if (!before) undo.push([this, id = plan.workload_id] { exclusions_.prune(id, NamespacePlan()); });
  ASSIGN_OR_RETURN(const uint32_t exclusion_flags, exclusions_.add(plan));
  const weft_netns row{.workload_id = plan.workload_id,
                       .slot = slot,
                       .flags = WEFT_NETNS_CAPTURE | exclusion_flags |
                                (plan.fail_closed ? WEFT_NETNS_FAIL_CLOSED : 0) |
                                (plan.shortcut ? WEFT_NETNS_SHORTCUT : 0),
                       .reserved = 0};
  if (!before) undo.push([this, slot] { inbound_.unenroll(slot); });
  RETURN_IF_ERROR(inbound_.enroll(slot, plan));
  measurements_.remember({plan.workload_id});
  RETURN_IF_ERROR(netns_.put(cookie, row));
  exclusions_.prune(plan.workload_id, plan);
  if (before && before->workload_id != plan.workload_id) exclusions_.prune(before->workload_id, plan);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UniqueFd>> KernelDataplane::share_listeners(uint64_t cookie) const {
  std::vector<UniqueFd> shared;
  const auto it = listeners_.find(cookie);
  if (it == listeners_.end()) return shared;
  for (const UniqueFd& listener : it->second) {
    UniqueFd copy(fcntl(listener.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid())
      return errno_status("duplicate a capture listener (raise the limit of open files)", errno);
    shared.push_back(std::move(copy));
  }
  return shared;
}

absl::StatusOr<EnrolledNamespace> KernelDataplane::enroll(const NamespacePlan& plan) {
  if (plan.workload_id == WEFT_ID_UNKNOWN || plan.workload_id == WEFT_ID_OVERFLOW) {
    return absl::InvalidArgumentError(
        str_cat("enroll ", plan.netns_path, ": a workload needs an id of its own"));
  }
  EnrolledNamespace result;
  ASSIGN_OR_RETURN(result.netns, open_netns(plan.netns_path));
  const int netns_fd = result.netns.get();
  ASSIGN_OR_RETURN(const uint64_t cookie, netns_cookie(netns_fd));
  const std::optional<weft_netns> before = netns_.find(cookie);
  const auto leaving = leaving_.find(cookie);
  // Nothing of an earlier enrolment is in use: on failure all goes.
  const bool fresh = !before && leaving == leaving_.end();
  const std::optional<uint32_t> slot = before  ? std::optional<uint32_t>(before->slot)
                                       : fresh ? free_slot()
                                               : std::optional<uint32_t>(leaving->second);
  if (!slot) {
    return absl::ResourceExhaustedError(
        str_cat(WEFT_MAX_NAMESPACES, " namespaces are enrolled, the most a node takes: unenroll one first"));
  }
  result.netns_cookie = cookie;
  result.slot = *slot;

  Undo undo;
  if (fresh) slots_.erase(*slot);  // of a namespace that died with its slot filled
  if (!fresh && refill_slot(cookie, *slot))
    result.steps.push_back("put the capture listener into its slot again");
  if (!slot_is_live(*slot)) {
    listeners_.erase(cookie);
    RETURN_IF_ERROR(open_listeners(cookie, *slot, netns_fd, undo, result.steps));
  }
  RETURN_IF_ERROR(open_inbound(plan, cookie, *slot, netns_fd, result.steps));
  {
    const std::lock_guard lock(programs_mutex_);
    if (fresh) undo.push([this, cookie] { programs_->detach_lookup(cookie); });
    RETURN_IF_ERROR(programs_->attach_lookup(cookie, *slot, netns_fd));
    result.steps.push_back(str_cat("attached mesh_lookup to the namespace (slot ", *slot, ")"));
  }
  if (fresh)
    undo.push(
        [netns_fd] { run_in_netns(netns_fd, [] { return remove_capture_route().status(); }).IgnoreError(); });
  std::vector<IpAddress> addresses;
  RETURN_IF_ERROR(run_in_netns(netns_fd, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const CaptureRoute routed, install_capture_route());
    result.steps.insert(result.steps.end(), routed.steps.begin(), routed.steps.end());
    if (!routed.missing.empty()) result.steps.push_back(routed.missing);
    ASSIGN_OR_RETURN(addresses, local_addresses());
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(write_rows(plan, cookie, *slot, before, undo));
  RETURN_IF_ERROR(inbound_.set_addresses(*slot, addresses));
  result.steps.push_back(
      str_cat("captured connections of netns cookie ", cookie, " as workload id ", plan.workload_id));
  ASSIGN_OR_RETURN(result.listeners, share_listeners(cookie));
  undo.keep();
  leaving_.erase(cookie);
  return result;
}

absl::Status KernelDataplane::stop_capture(uint64_t cookie) {
  const std::optional<weft_netns> row = netns_.find(cookie);
  if (!row) return absl::OkStatus();
  netns_.erase(cookie);
  exclusions_.prune(row->workload_id, NamespacePlan());
  leaving_[cookie] = row->slot;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> KernelDataplane::captured_connections(uint64_t cookie,
                                                               const std::string& netns_path) {
  ASSIGN_OR_RETURN(const UniqueFd netns, open_same_netns(netns_path, cookie));
  uint64_t count = 0;
  RETURN_IF_ERROR(run_in_netns(netns.get(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(count, count_captured_connections());
    return absl::OkStatus();
  }));
  return count;
}

absl::StatusOr<uint64_t> KernelDataplane::close_connections(
    uint64_t cookie, const std::string& netns_path,
    const std::function<bool(const InboundConnection&)>& forbidden) {
  ASSIGN_OR_RETURN(const UniqueFd netns, open_same_netns(netns_path, cookie));
  uint64_t closed = 0;
  RETURN_IF_ERROR(run_in_netns(netns.get(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(closed, close_inbound_connections(records_, [&](const InboundConnection& connection) {
                       return !inbound_.is_node(connection.remote.ip) && forbidden(connection);
                     }));
    return absl::OkStatus();
  }));
  return closed;
}

absl::Status KernelDataplane::open_connections(
    uint64_t cookie, const std::string& netns_path,
    const std::function<void(const OpenConnection&)>& visit) const {
  ASSIGN_OR_RETURN(const UniqueFd netns, open_same_netns(netns_path, cookie));
  return run_in_netns(netns.get(), [&] { return for_each_open_connection(records_, visit); });
}

absl::StatusOr<NamespaceHealth> KernelDataplane::inspect(uint64_t cookie, const std::string& netns_path) {
  const std::optional<weft_netns> row = netns_.find(cookie);
  if (!row) return absl::NotFoundError(str_cat("netns cookie ", cookie, " has no row: enroll it again"));
  ASSIGN_OR_RETURN(const UniqueFd netns, open_same_netns(netns_path, cookie));
  NamespaceHealth health;
  {
    const std::lock_guard lock(programs_mutex_);
    if (!programs_->lookup_attached(cookie)) {
      RETURN_IF_ERROR(programs_->attach_lookup(cookie, row->slot, netns.get()));
      health.repaired.push_back("attached mesh_lookup to the namespace again");
    }
  }
  if (refill_slot(cookie, row->slot))
    health.repaired.push_back("put the capture listener into its slot again");
  std::vector<IpAddress> addresses;
  RETURN_IF_ERROR(run_in_netns(netns.get(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const CaptureRoute routed, install_capture_route());
    health.missing = routed.missing;
    ASSIGN_OR_RETURN(addresses, local_addresses());
    for (const std::string& family : routed.changed)
      health.repaired.push_back(str_cat("installed the ", family, " rule and route of capture again"));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(inbound_.set_addresses(row->slot, addresses));
  return health;
}

void KernelDataplane::drop_rows(uint64_t cookie, const weft_netns& row) {
  netns_.erase(cookie);
  exclusions_.prune(row.workload_id, NamespacePlan());
  inbound_.unenroll(row.slot);
  programs_->detach_lookup(cookie);
  slots_.erase(row.slot);
}

absl::Status KernelDataplane::unenroll(uint64_t cookie, const std::string& netns_path) {
  {
    const std::lock_guard lock(programs_mutex_);
    if (const auto row = netns_.find(cookie)) drop_rows(cookie, *row);
    if (const auto it = leaving_.find(cookie); it != leaving_.end()) {
      inbound_.unenroll(it->second);
      slots_.erase(it->second);
    }
    leaving_.erase(cookie);
    programs_->detach_lookup(cookie);
  }
  listeners_.erase(cookie);
  const absl::StatusOr<UniqueFd> netns = open_same_netns(netns_path, cookie);
  if (!netns.ok()) return absl::OkStatus();
  return annotate(str_cat("unenroll ", netns_path),
                  run_in_netns(netns->get(), [] { return remove_capture_route().status(); }));
}

absl::Status KernelDataplane::adopt_listeners(uint64_t cookie, std::vector<UniqueFd> listeners) {
  const std::optional<weft_netns> row = netns_.find(cookie);
  if (!row)
    return absl::NotFoundError(
        str_cat("netns cookie ", cookie, " is not enrolled: enroll it, its listeners are new then"));
  if (listeners.empty())
    return absl::InvalidArgumentError("no listeners were handed back: enroll the namespace again");
  // Also in the place of a listener that is there: whoever holds that one may close it, and then the slot
  // would be empty. These are ours from now on.
  RETURN_IF_ERROR(slots_.put(row->slot, static_cast<uint64_t>(listeners[0].get())));
  RETURN_IF_ERROR(put_inbound(row->slot, listeners));
  listeners_[cookie] = std::move(listeners);
  return absl::OkStatus();
}

// Whoever emptied the slot: what waits in the queues of our listeners is not lost, as it would be with new
// ones.
bool KernelDataplane::refill_slot(uint64_t cookie, uint32_t slot) {
  const auto held = listeners_.find(cookie);
  if (slot_is_live(slot) || held == listeners_.end() || held->second.empty()) return false;
  return slots_.put(slot, static_cast<uint64_t>(held->second[0].get())).ok() &&
         put_inbound(slot, held->second).ok();
}

bool KernelDataplane::has_listener(uint64_t cookie) const {
  const std::optional<weft_netns> row = netns_.find(cookie);
  return row && slot_is_live(row->slot);
}

}  // namespace weft::agent
