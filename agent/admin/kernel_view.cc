// The rpcs about the kernel half: programs, maps, counters, connections, and whether they are what the agent
// wants. Part of AdminService; called by gRPC only.
#include <algorithm>

#include "agent/admin/admin_service.h"
#include "agent/admin/connection_list.h"
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

void add_row(const DriftRow& row, uint64_t desired, admin::v1::DiffReport* reply) {
  admin::v1::DiffRow* out = reply->add_rows();
  out->set_scope(row.scope);
  out->set_desired(desired);
  out->set_agent(row.agent);
  out->set_kernel(row.kernel);
  // What the configuration asks for and the agent did not write drifts too.
  const uint64_t unwritten = desired > row.agent ? desired - row.agent : row.agent - desired;
  out->set_drift(std::max(row.drift, unwritten));
  out->set_first(row.first.empty() && unwritten != 0 ? "the agent could not write all; weft status says why"
                                                     : row.first);
}

DriftRow namespaces(const Reconciler::View& view, const Dataplane& dataplane) {
  DriftRow out{.scope = "namespaces", .agent = view.pods.captured()};
  for (const MapStatus& map : dataplane.maps()) {
    if (map.name == "m_netns") out.kernel = map.entries;
  }
  out.drift = out.kernel > out.agent ? out.kernel - out.agent : out.agent - out.kernel;
  for (const auto& [key, pod] : view.pods.pods()) {
    if (pod.state == Pod::State::kPending && out.first.empty()) out.first = str_cat(key, ": ", pod.reason);
  }
  if (out.first.empty() && out.drift != 0) out.first = "rows of m_netns and captured pods differ in number";
  return out;
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
  const auto done = parts_.reconciler.read([&](const Reconciler::View& view) {
    add_row(namespaces(view, parts_.dataplane), view.pods.pods().size(), reply);
    for (const DriftRow& row : parts_.dataplane.drift()) {
      const uint64_t desired = row.scope == "services"       ? view.planner.services()
                               : row.scope == "destinations" ? view.planner.destinations()
                                                             : row.agent;
      add_row(row, desired, reply);
    }
    return true;
  });
  if (done.has_value()) return grpc::Status::OK;
  return stopping();
}

}  // namespace weft::agent
