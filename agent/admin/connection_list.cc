// See connection_list.h. Three steps: which pods and which ids (reconciler), their sockets (kernel), names of
// what is shown (reconciler).
#include "agent/admin/connection_list.h"

#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

using Path = OpenConnection::Path;

struct PathNames {
  const char* path;
  const char* direction;
};
constexpr PathNames kPaths[] = {{"direct", "outbound"}, {"proxy", "outbound"},  {"upstream", "outbound"},
                                {"pass", "outbound"},   {"inbound", "inbound"}, {"inspected", "inbound"}};
// Indexed by BPF_TCP_*, with the words of ss(8).
constexpr std::array<const char*, 14> kStates = {
    "unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait",
    "closed",  "close-wait",  "last-ack", "listen",   "closing",    "syn-recv",   "bound"};

struct Target {
  std::string key;
  std::string path;
  uint64_t cookie = 0;
  uint32_t id = 0;
};

using Ids = absl::flat_hash_set<uint32_t>;

// nullopt: all.
struct Filter {
  std::optional<Ids> from, to;
};

// A connection with its ids completed by what is known of its addresses.
struct Row {
  OpenConnection connection;
  const Target* pod = nullptr;
  uint32_t source = 0;
  uint32_t destination = 0;
  uint32_t backend = 0;  // the workload that holds the remote address of what was dialled
};

std::vector<Target> targets(const admin::v1::ConnectionsRequest& request, const Reconciler::View& view) {
  std::vector<Target> out;
  std::string only = request.workload();
  if (!only.empty() && only.find('/') == std::string::npos)
    only = str_cat(request.namespace_().empty() ? "default" : request.namespace_(), "/", only);
  for (const auto& [key, pod] : view.pods.pods()) {
    if (pod.state != Pod::State::kCaptured || (!only.empty() && key != only)) continue;
    if (only.empty() && !request.namespace_().empty() && pod.ns != request.namespace_()) continue;
    out.push_back({.key = key,
                   .path = pod.captured_path,
                   .cookie = pod.netns_cookie,
                   .id = view.ids.find(Subject::Kind::kWorkload, pod.uid)});
  }
  return out;
}

Row complete(const OpenConnection& connection, const Target& pod, const Dataplane& dataplane) {
  Row row{.connection = connection, .pod = &pod};
  const uint32_t remote = dataplane.owner({connection.remote.ip, 0});
  if (connection.inbound()) {
    row.source = connection.source != 0 ? connection.source : remote;
    row.destination = pod.id;
    return row;
  }
  row.source = pod.id;
  row.destination =
      connection.destination != 0 ? connection.destination : dataplane.owner(connection.dialled);
  if (connection.path != Path::kProxy) row.backend = remote;
  return row;
}

bool wanted(const Row& row, const Filter& filter) {
  if (filter.from && !filter.from->contains(row.source)) return false;
  return !filter.to || filter.to->contains(row.destination) || filter.to->contains(row.backend);
}

// Unknown ages count as the oldest.
bool older(const Row& a, const Row& b) { return a.connection.started_ns < b.connection.started_ns; }

// The oldest of one pod, no more than there is room for: the youngest of them is on top of the heap.
void keep_oldest(Row row, size_t room, std::vector<Row>* heap) {
  if (room == 0) return;
  if (heap->size() == room) {
    if (!older(row, heap->front())) return;
    std::pop_heap(heap->begin(), heap->end(), older);
    heap->pop_back();
  }
  heap->push_back(std::move(row));
  std::push_heap(heap->begin(), heap->end(), older);
}

std::string name_of(uint32_t id, const IdRegistry& ids) {
  const std::optional<Subject> subject = ids.subject(id);
  return subject ? str_cat(subject->ns, "/", subject->name) : "";
}

void write(const Row& row, const IdRegistry& ids, MonotonicNs now, admin::v1::Connection* out) {
  const OpenConnection& connection = row.connection;
  const PathNames& names = kPaths[static_cast<size_t>(connection.path)];
  out->set_path(names.path);
  out->set_direction(names.direction);
  out->set_state(connection.state < kStates.size() ? kStates[connection.state] : kStates[0]);
  if (connection.started_ns != 0 && connection.started_ns <= now) {
    const MonotonicNs age = now - connection.started_ns;
    out->set_age_seconds(static_cast<double>(age) / static_cast<double>(kNsPerSecond));
  }
  out->set_sent_bytes(connection.sent_bytes);
  out->set_received_bytes(connection.received_bytes);
  out->set_rtt_us(connection.rtt_us);
  out->set_retransmits(connection.retransmits);
  out->set_pod(row.pod->key);
  out->set_source(connection.inbound() ? name_of(row.source, ids) : row.pod->key);
  out->set_source_address((connection.inbound() ? connection.remote : connection.local).to_string());
  out->set_destination(connection.inbound() ? row.pod->key : name_of(row.destination, ids));
  out->set_destination_address(connection.dialled.to_string());
  if (connection.inbound() || connection.path == Path::kProxy) return;
  out->set_backend(name_of(row.backend, ids));
  out->set_backend_address(connection.remote.to_string());
}

absl::Status stopped() { return absl::UnavailableError("the agent is stopping; next: weft status"); }

absl::StatusOr<IdRegistry> names_of(const Ids& ids, Reconciler& reconciler) {
  const std::vector<uint32_t> list(ids.begin(), ids.end());
  auto names = reconciler.read([&list](const Reconciler::View& view) { return view.ids.only(list); });
  if (!names) return stopped();
  return *std::move(names);
}

std::optional<Ids> matching(const Ids& ids, const std::string& prefix, const IdRegistry& names) {
  if (prefix.empty()) return std::nullopt;
  Ids out;
  for (const uint32_t id : ids) {
    if (name_of(id, names).starts_with(prefix)) out.insert(id);
  }
  return out;
}

// Prefixes as ids. Only those that occur are looked up, so that a large mesh costs nothing.
absl::StatusOr<Filter> make_filter(const admin::v1::ConnectionsRequest& request,
                                   const std::vector<Target>& pods, const Dataplane& dataplane,
                                   Reconciler& reconciler) {
  Filter filter;
  if (request.from().empty() && request.to().empty()) return filter;
  Ids seen;
  for (const Target& pod : pods) {
    // A pod that cannot be read is named when its rows are wanted.
    dataplane
        .open_connections(pod.cookie, pod.path,
                          [&](const OpenConnection& connection) {
                            const Row row = complete(connection, pod, dataplane);
                            seen.insert({row.source, row.destination, row.backend});
                          })
        .IgnoreError();
  }
  ASSIGN_OR_RETURN(const IdRegistry names, names_of(seen, reconciler));
  filter.from = matching(seen, request.from(), names);
  filter.to = matching(seen, request.to(), names);
  return filter;
}

}  // namespace

absl::StatusOr<admin::v1::ConnectionList> list_connections(const admin::v1::ConnectionsRequest& request,
                                                           const Dataplane& dataplane,
                                                           Reconciler& reconciler) {
  const size_t limit =
      std::min(request.limit() == 0 ? kDefaultConnections : request.limit(), kMaxConnections);
  const auto pods =
      reconciler.read([&request](const Reconciler::View& view) { return targets(request, view); });
  if (!pods) return stopped();
  if (pods->empty() && !request.workload().empty()) {
    return absl::NotFoundError(str_cat(request.workload(), " is not captured; next: weft get workloads -A"));
  }
  ASSIGN_OR_RETURN(const Filter filter, make_filter(request, *pods, dataplane, reconciler));
  admin::v1::ConnectionList reply;
  uint64_t matched = 0;
  std::vector<Row> rows;
  for (const Target& pod : *pods) {
    std::vector<Row> oldest;
    const absl::Status status =
        dataplane.open_connections(pod.cookie, pod.path, [&](const OpenConnection& connection) {
          Row row = complete(connection, pod, dataplane);
          if (!wanted(row, filter)) return;
          ++matched;
          keep_oldest(std::move(row), limit - rows.size(), &oldest);
        });
    if (!status.ok()) reply.add_unreadable(str_cat(pod.key, ": ", to_std(status.message())));
    std::sort(oldest.begin(), oldest.end(), older);
    rows.insert(rows.end(), oldest.begin(), oldest.end());
  }
  reply.set_matched(matched);
  Ids named;
  for (const Row& row : rows) named.insert({row.source, row.destination, row.backend});
  ASSIGN_OR_RETURN(const IdRegistry names, names_of(named, reconciler));
  const MonotonicNs now = SystemClock().now();
  for (const Row& row : rows) write(row, names, now, reply.add_connections());
  return reply;
}

}  // namespace weft::agent
