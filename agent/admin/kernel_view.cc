// The rpcs about the kernel half: programs, maps, counters, connections, and whether they are what the agent
// wants. Part of AdminService; called by gRPC only.
#include <algorithm>
#include <set>

#include "agent/admin/admin_service.h"
#include "agent/admin/connection_list.h"
#include "agent/policy/enforcement.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr uint32_t kDefaultMapRows = 100;
constexpr uint32_t kMaxMapRows = 10'000;

grpc::Status stopping() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status");
}

// Programs use the id of nobody for all workloads, too.
std::string subject_text(uint32_t id, const IdRegistry& ids) {
  if (id == WEFT_ID_UNKNOWN) return "-";
  if (id == WEFT_ID_OVERFLOW) return "(overflow)";
  const std::optional<Subject> subject = ids.subject(id);
  return subject ? str_cat(subject->ns, "/", subject->name) : str_cat("id ", id);
}

constexpr struct {
  const char* label;
  const char* meaning;
} kEvents[] = {
#define X(name, label, meaning) {label, meaning},
    WEFT_STATS(X)
#undef X
};

// What is asked about, gathered before the reconciler is.
struct ProxyView {
  bool connected = false;
  uint64_t acked = 0;
  std::set<uint64_t> served;
  std::vector<std::string> rejected;
};

std::string object_text(const DriftItem& item, const IdRegistry& ids) {
  if (item.id == WEFT_ID_UNKNOWN) return item.object;
  return str_cat(subject_text(item.id, ids), " ", item.object);
}

admin::v1::DiffRow* add_row(const DriftRow& row, const IdRegistry& ids, admin::v1::DiffReport* reply) {
  admin::v1::DiffRow* out = reply->add_rows();
  out->set_scope(row.scope);
  out->set_desired(row.desired);
  out->set_agent(row.agent);
  out->set_kernel(row.kernel);
  out->set_drift(row.drift);
  for (const DriftItem& item : row.items) {
    admin::v1::DiffObject* object = reply->add_objects();
    object->set_scope(row.scope);
    object->set_object(object_text(item, ids));
    object->set_difference(item.difference);
    if (out->first().empty()) out->set_first(str_cat(object->object(), ": ", item.difference));
  }
  return out;
}

// Which configuration is in force where. The kernel's share of it has scopes of its own.
void add_configuration(const Reconciler::View& view, const ProxyView& proxy, admin::v1::DiffReport* reply) {
  DriftRow row{.scope = "configuration", .desired = view.generation, .agent = view.generation};
  if (proxy.connected && proxy.acked < view.generation) {
    row.note("proxy", 0,
             str_cat("stale: it uses generation ", proxy.acked, ", the agent has ", view.generation));
  }
  for (const std::string& rejected : proxy.rejected) row.note("proxy", 0, str_cat("refused ", rejected));
  admin::v1::DiffRow* out = add_row(row, view.ids, reply);
  out->clear_kernel();
  if (proxy.connected) out->set_proxy(proxy.acked);
}

// Beside what the kernel says of the captured ones: those that are not captured, or not served.
void add_namespaces(DriftRow row, const Reconciler::View& view, const ProxyView& proxy,
                    admin::v1::DiffReport* reply) {
  uint64_t served = 0;
  row.desired = view.pods.pods().size();
  for (const auto& [key, pod] : view.pods.pods()) {
    const bool captured = pod.state == Pod::State::kCaptured;
    const bool is_served = captured && proxy.served.contains(pod.netns_cookie);
    served += is_served ? 1 : 0;
    if (!captured)
      row.note(key, 0, str_cat("not captured: ", pod.reason));
    else if (proxy.connected && !is_served)
      row.note(key, 0, "captured, but not served by the proxy");
  }
  admin::v1::DiffRow* out = add_row(row, view.ids, reply);
  if (proxy.connected) out->set_proxy(served);
}

}  // namespace

grpc::Status AdminService::GetKernel(grpc::ServerContext*, const admin::v1::GetKernelRequest*,
                                     admin::v1::KernelState* reply) {
  const std::vector<ProgramRuns> runs = parts_.dataplane.program_runs();
  for (const ProgramStatus& program : parts_.dataplane.programs()) {
    admin::v1::KernelProgram* out = reply->add_programs();
    out->set_name(program.name);
    out->set_hook(program.hook);
    out->set_target(program.target);
    out->set_attached(program.attached);
    for (const ProgramRuns& counted : runs) {
      if (counted.name != program.name) continue;
      out->set_runs(counted.runs);
      out->set_run_ns(counted.run_ns);
    }
  }
  for (const MapStatus& map : parts_.dataplane.maps()) {
    admin::v1::KernelMap* out = reply->add_maps();
    out->set_name(map.name);
    out->set_entries(map.entries);
    out->set_capacity(map.capacity);
  }
  const std::vector<uint64_t> stats = parts_.dataplane.stats();
  for (size_t i = 0; i < stats.size() && i < std::size(kEvents); ++i) {
    admin::v1::KernelEvent* out = reply->add_events();
    out->set_event(kEvents[i].label);
    out->set_count(stats[i]);
    out->set_meaning(kEvents[i].meaning);
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::ListConnections(grpc::ServerContext*, const admin::v1::ConnectionsRequest* request,
                                           admin::v1::ConnectionList* reply) {
  absl::StatusOr<admin::v1::ConnectionList> list =
      list_connections(*request, parts_.dataplane, parts_.reconciler);
  if (!list.ok()) return to_grpc(list.status());
  *reply = *std::move(list);
  return grpc::Status::OK;
}

grpc::Status AdminService::DumpMap(grpc::ServerContext*, const admin::v1::DumpMapRequest* request,
                                   admin::v1::MapDump* reply) {
  const size_t limit = std::min(request->limit() == 0 ? kDefaultMapRows : request->limit(), kMaxMapRows);
  const absl::StatusOr<MapText> dump = parts_.dataplane.dump_map(request->name(), limit);
  if (!dump.ok()) return to_grpc(dump.status());
  std::vector<uint32_t> ids;
  for (const auto& row : dump->rows) {
    for (const MapCell& cell : row) {
      if (cell.is_subject) ids.push_back(cell.subject);
    }
  }
  const auto names =
      parts_.reconciler.read([&ids](const Reconciler::View& view) { return view.ids.only(ids); });
  if (!names) return stopping();
  for (const std::string& column : dump->columns) reply->add_columns(column);
  reply->set_total(dump->total);
  for (const auto& row : dump->rows) {
    admin::v1::MapDumpRow* out = reply->add_rows();
    for (const MapCell& cell : row)
      out->add_cells(cell.is_subject ? subject_text(cell.subject, *names) : cell.text);
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::Diff(grpc::ServerContext*, const admin::v1::DiffRequest*,
                                admin::v1::DiffReport* reply) {
  const ProxyView proxy{.connected = parts_.proxy.state().connected,
                        .acked = parts_.acked(),
                        .served = parts_.served(),
                        .rejected = parts_.rejected()};
  const auto done = parts_.reconciler.read([&](const Reconciler::View& view) {
    add_configuration(view, proxy, reply);
    const PlannedKernel wanted{.entries = view.planner.everything(view.model, view.ids),
                               .namespaces = planned_namespaces(view.model, view.ids, view.pods)};
    for (DriftRow& row : parts_.dataplane.drift(wanted)) {
      if (row.scope == "namespaces")
        add_namespaces(std::move(row), view, proxy, reply);
      else
        add_row(row, view.ids, reply);
    }
    return true;
  });
  if (done.has_value()) return grpc::Status::OK;
  return stopping();
}

}  // namespace weft::agent
