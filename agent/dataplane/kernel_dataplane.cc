// Opening and adopting, the proxy row, status. Enrolment is in enroll.cc.
#include "agent/dataplane/kernel_dataplane.h"

#include <fcntl.h>
#include <signal.h>

#include <cerrno>

#include "agent/dataplane/addresses.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/program_runs.h"
#include "agent/dataplane/rivals.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/abi/shortcut.h"
#include "bpf/user/cgroup.h"
#include "bpf/user/features.h"
#include "bpf/user/shortcut_trial.h"

namespace weft::agent {
namespace {

absl::Status name_missing_feature(const absl::Status& status) {
  for (const bpf::Feature& feature : bpf::probe_features()) {
    if (feature.available) continue;
    return absl::FailedPreconditionError(str_cat(to_std(status.message()),
                                                 "; this kernel or its lockdown refuses ", feature.name, " (",
                                                 feature.error, "): run `weft check --pre`"));
  }
  return status;
}

std::string shortcut_not_wanted() { return "the agent was started without --shortcut"; }

std::string try_shortcut() {
  const absl::StatusOr<bpf::ShortcutFindings> found = bpf::try_shortcut();
  return found.ok() ? bpf::shortcut_doubt(*found) : std::string(found.status().message());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Dataplane>> Dataplane::open(const Options& options) {
  std::string cgroup = options.cgroup;
  if (cgroup.empty()) {
    ASSIGN_OR_RETURN(cgroup, find_cgroup2_root());
  }
  bpf::Programs::Knobs knobs;
  knobs.try_shortcut = !options.shortcut      ? shortcut_not_wanted
                       : options.try_shortcut ? options.try_shortcut
                                              : try_shortcut;
  auto programs = bpf::Programs::load(bpf::Pins(options.pin_root), knobs);
  if (!programs.ok()) return name_missing_feature(programs.status());
  auto dataplane = std::make_unique<KernelDataplane>(options, cgroup, *std::move(programs));
  RETURN_IF_ERROR(dataplane->start());
  return dataplane;
}

KernelDataplane::KernelDataplane(const Options& options, std::string cgroup,
                                 std::unique_ptr<bpf::Programs> programs)
    : options_(options),
      cgroup_(std::move(cgroup)),
      programs_(std::move(programs)),
      netns_(programs_->map_fd("m_netns"), "m_netns"),
      slots_(programs_->map_fd("m_listener"), "m_listener"),
      inbound_slots_(programs_->map_fd("m_inbound_listener"), "m_inbound_listener"),
      proxy_(programs_->map_fd("m_proxy"), "m_proxy"),
      exclusions_(programs_->map_fd("m_excl_port"), programs_->map_fd("m_excl_cidr")),
      destinations_(programs_->map_fd("m_dest")),
      services_(programs_->map_fd("m_svc"), programs_->map_fd("m_pick"), programs_->map_fd("m_backend"),
                programs_->map_fd("m_health")),
      inbound_(*programs_),
      failing_(programs_->map_fd("m_failing"), programs_->map_fd("m_backend")),
      beat_(programs_->map_fd("m_beat"), "m_beat"),
      measurements_(programs_->map_fd("m_flow"), programs_->map_fd("m_stats")) {}

absl::Status KernelDataplane::start() {
  const std::lock_guard lock(programs_mutex_);
  const absl::Status status = take_over();
  return status.ok() ? status : programs_->abandon(status);
}

// Until commit() the former version's programs read the maps that are shared with it: what is written here is
// true for both.
absl::Status KernelDataplane::take_over() {
  RETURN_IF_ERROR(refuse_blocked_hooks());
  ASSIGN_OR_RETURN(records_, SocketRecords::open(*programs_));
  RETURN_IF_ERROR(measurements_.make_overflow_rows());
  ASSIGN_OR_RETURN(const std::vector<IpAddress> own, local_addresses());
  RETURN_IF_ERROR(inbound_.set_node_addresses(own));
  // Namespaces before the cgroup: a row whose link is dead must not capture.
  RETURN_IF_ERROR(adopt_namespaces());
  drop_dead_proxies();
  RETURN_IF_ERROR(annotate("attach the kernel programs", programs_->attach_cgroup(cgroup_)));
  if (options_.shortcut && !programs_->shortcut_problem().empty())
    log::info("shortcut_unavailable", {{"why", programs_->shortcut_problem()}});
  return programs_->commit();
}

// The kernel would refuse some of them without saying who is in the way, and let others switch somebody's
// program off.
absl::Status KernelDataplane::refuse_blocked_hooks() const {
  const absl::StatusOr<std::vector<Rival>> rivals =
      cgroup_rivals(cgroup_, pinned_programs(bpf::Pins(options_.pin_root)));
  if (!rivals.ok()) return absl::OkStatus();  // attaching says what is wrong with the cgroup
  for (const Rival& rival : *rivals) {
    if (rival.effect != Rival::Effect::kBlocks) continue;
    return absl::FailedPreconditionError(
        str_cat("cannot attach to ", cgroup_, ": ", describe(rival), ": ", rival.meaning, "; ", rival.hint));
  }
  return absl::OkStatus();
}

// Rows are the truth: each gets the new mesh_lookup behind its link. A link without a row is a half-made
// enrolment, a row whose link is dead belongs to a namespace that is gone; both are dropped.
absl::Status KernelDataplane::adopt_namespaces() {
  for (const uint64_t cookie : bpf::Pins(options_.pin_root).lookup_cookies()) {
    if (!netns_.find(cookie)) programs_->detach_lookup(cookie);
  }
  std::map<uint64_t, weft_netns> rows;
  std::vector<bpf::LookupTarget> targets;
  for (const uint64_t cookie : netns_.keys(WEFT_MAX_NAMESPACES)) {
    const std::optional<weft_netns> row = netns_.find(cookie);
    if (row && rows.emplace(cookie, *row).second)
      targets.push_back({.netns_cookie = cookie, .slot = row->slot});
  }
  ASSIGN_OR_RETURN(const std::vector<uint64_t> dead, programs_->adopt_lookups(targets));
  for (const uint64_t cookie : dead) {
    log::warn("namespace_dropped", {{"cookie", cookie}, {"error", "its mesh_lookup is no longer attached"}});
    drop_rows(cookie, rows[cookie]);
    rows.erase(cookie);
  }
  for (const auto& [cookie, row] : rows)
    log::info("namespace_adopted", {{"cookie", cookie}, {"slot", row.slot}});
  return absl::OkStatus();
}

absl::Status KernelDataplane::apply(const KernelChange& change) {
  std::vector<uint32_t> ids;
  for (const DestinationEntry& entry : change.destinations) ids.push_back(entry.id);
  for (const ServiceEntry& entry : change.services) ids.push_back(entry.id);
  measurements_.remember(ids);
  const absl::Status services = services_.apply(change.services, change.gone_services, change.full);
  const absl::Status destinations =
      destinations_.apply(change.destinations, change.gone_destinations, change.full);
  return services.ok() ? annotate("set destinations", destinations) : services;
}

absl::Status KernelDataplane::set_policy(uint64_t cookie, const InboundPolicy& policy) {
  const std::optional<weft_netns> row = netns_.find(cookie);
  if (!row) return absl::NotFoundError(str_cat("netns cookie ", cookie, " is not enrolled"));
  return inbound_.set_policy(row->slot, policy);
}

UniqueFd KernelDataplane::heartbeat() const { return UniqueFd(fcntl(beat_.fd(), F_DUPFD_CLOEXEC, 0)); }

absl::Status KernelDataplane::watch_proxy() {
  const std::optional<weft_beat> beat = beat_.find(0);
  if (beat && beat->heartbeat_ns != 0) return absl::OkStatus();
  return beat_.put(0, {.heartbeat_ns = SystemClock().now()});
}

absl::Status KernelDataplane::set_proxy(uint32_t tgid) {
  newest_proxy_ = tgid;
  return proxy_.put(tgid, {.tgid = tgid, .reserved = 0, .heartbeat_ns = SystemClock().now()});
}

void KernelDataplane::forget_proxy(uint32_t tgid) {
  proxy_.erase(tgid);
  if (newest_proxy_ == tgid) newest_proxy_ = 0;
}

absl::Status KernelDataplane::beat_proxy() {
  if (newest_proxy_ == 0) return absl::OkStatus();
  return set_proxy(newest_proxy_);
}

// Proxies that ended while no agent ran: their number may belong to an application by now.
void KernelDataplane::drop_dead_proxies() {
  for (const uint32_t tgid : proxy_.keys(WEFT_MAX_PROXIES)) {
    if (::kill(static_cast<pid_t>(tgid), 0) != 0 && errno == ESRCH) proxy_.erase(tgid);
  }
}

std::vector<ProgramStatus> KernelDataplane::programs() const {
  const std::lock_guard lock(programs_mutex_);
  std::vector<ProgramStatus> out;
  for (const bpf::Attachment& attachment : programs_->attachments()) {
    const bool in_cgroup = attachment.netns_cookie == 0;
    out.push_back({.name = attachment.program,
                   .hook = attachment.hook,
                   .target = in_cgroup ? cgroup_ : str_cat("netns cookie ", attachment.netns_cookie),
                   .attached = attachment.attached,
                   .problem = attachment.problem});
  }
  return out;
}

std::vector<ProgramRuns> KernelDataplane::program_runs() const {
  return read_program_runs(bpf::Pins(options_.pin_root).links());
}

std::vector<Rival> KernelDataplane::rivals(const std::vector<NamedNetns>& namespaces) const {
  const std::set<uint32_t> own = pinned_programs(bpf::Pins(options_.pin_root));
  // Programs are attached to it, so it is there and may be asked.
  std::vector<Rival> out = cgroup_rivals(cgroup_, own).value_or(std::vector<Rival>());
  for (const NamedNetns& named : namespaces) {
    const absl::StatusOr<UniqueFd> netns = open_netns(named.path);
    if (!netns.ok()) continue;  // gone meanwhile: then nothing is captured there
    for (Rival& rival : lookup_rivals(netns->get(), str_cat(named.name, " (", named.path, ")"), own))
      out.push_back(std::move(rival));
  }
  return out;
}

std::vector<MapStatus> KernelDataplane::maps() const {
  const std::vector<uint64_t> cookies = netns_.keys(WEFT_MAX_NAMESPACES);
  uint64_t live = 0;
  for (const uint64_t cookie : cookies) live += has_listener(cookie) ? 1 : 0;
  const bpf::Map<uint64_t, weft_shortcut> shortcuts(programs_->map_fd("m_shortcut"), "m_shortcut");
  return {
      {.name = "m_netns", .entries = cookies.size(), .capacity = WEFT_MAX_NAMESPACES},
      {.name = "m_listener", .entries = live, .capacity = WEFT_MAX_NAMESPACES},
      {.name = "m_dest", .entries = destinations_.count(), .capacity = WEFT_MAX_DESTINATIONS},
      {.name = "m_svc", .entries = services_.count(), .capacity = WEFT_MAX_SERVICES},
      {.name = "m_backend", .entries = services_.backends(), .capacity = WEFT_MAX_BACKENDS},
      {.name = "m_pick", .entries = services_.picks(), .capacity = WEFT_MAX_PICKS},
      {.name = "m_policy", .entries = inbound_.policies(), .capacity = WEFT_MAX_POLICIES},
      {.name = "m_excl_port", .entries = exclusions_.port_count(), .capacity = WEFT_MAX_EXCLUSIONS},
      {.name = "m_excl_cidr", .entries = exclusions_.cidr_count(), .capacity = WEFT_MAX_EXCLUSIONS},
      {.name = "m_flow", .entries = measurements_.flow_count(), .capacity = WEFT_MAX_FLOWS},
      {.name = "m_shortcut",
       .entries = shortcuts.keys(WEFT_MAX_SHORTCUTS).size(),
       .capacity = WEFT_MAX_SHORTCUTS},
      {.name = "m_socket", .entries = records_.taken(), .capacity = WEFT_SOCKET_SETS * WEFT_SOCKET_SLOTS},
  };
}

absl::StatusOr<std::string> find_cgroup2_root() { return bpf::find_cgroup2_root(); }

}  // namespace weft::agent
