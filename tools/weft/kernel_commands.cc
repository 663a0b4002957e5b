// `weft bpf` and `weft diff`: what is in the kernel, and whether it is what the agent wants there. Called by
// cli.cc.
#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/commands.h"

namespace weft::cli {
namespace {

using admin::v1::Admin;

// From this fill on a map is marked.
constexpr uint64_t kNearlyFullPercent = 80;

absl::StatusOr<admin::v1::KernelState> kernel(const Flags& flags) {
  return call(flags, &Admin::Stub::GetKernel, admin::v1::GetKernelRequest());
}

// "NETNS COOKIE" -> "netnsCookie".
std::string json_key(const std::string& column) {
  std::string out;
  bool upper = false;
  for (const char c : column) {
    if (c == ' ')
      upper = true;
    else
      out.push_back(static_cast<char>(upper ? c : std::tolower(static_cast<unsigned char>(c))));
    if (c != ' ') upper = false;
  }
  return out;
}

}  // namespace

int bpf_progs(const Flags& flags, Environment& env) {
  const auto state = kernel(flags);
  if (!state.ok()) return report(state.status(), "weft check", env);
  Table table{.head = {"PROGRAM", "HOOK", "ATTACHED", "RUNS", "AVG NS", "TARGET"}, .rows = {}};
  Json rows = Json::array();
  for (const auto& p : state->programs()) {
    const bool counted = p.runs() != 0;
    table.rows.push_back({p.name(), p.hook(), p.attached() ? "yes" : "NO", counted ? str_cat(p.runs()) : "-",
                          counted ? str_cat(p.run_ns() / p.runs()) : "-", p.target()});
    rows.push_back({{"name", p.name()},
                    {"hook", p.hook()},
                    {"target", p.target()},
                    {"attached", p.attached()},
                    {"runs", p.runs()},
                    {"runNs", p.run_ns()}});
  }
  print(Json{{"schema", "weft.bpf.progs.v1"}, {"programs", rows}}, table, flags, env);
  if (flags.output == "table")
    env.err << "runs are counted while kernel.bpf_stats_enabled is 1; next: sysctl -w "
               "kernel.bpf_stats_enabled=1\n";
  return kOk;
}

int bpf_maps(const Flags& flags, Environment& env) {
  const auto state = kernel(flags);
  if (!state.ok()) return report(state.status(), "weft check", env);
  Table table{.head = {"MAP", "ENTRIES", "MAX", "FILL"}, .rows = {}};
  Json rows = Json::array();
  for (const auto& m : state->maps()) {
    const uint64_t percent = m.capacity() == 0 ? 0 : m.entries() * 100 / m.capacity();
    table.rows.push_back({m.name(), str_cat(m.entries()), str_cat(m.capacity()),
                          str_cat(percent, percent >= kNearlyFullPercent ? "% !" : "%")});
    rows.push_back({{"name", m.name()}, {"entries", m.entries()}, {"capacity", m.capacity()}});
  }
  print(Json{{"schema", "weft.bpf.maps.v1"}, {"maps", rows}}, table, flags, env);
  return kOk;
}

int bpf_map_dump(const Flags& flags, Environment& env) {
  admin::v1::DumpMapRequest request;
  request.set_name(flags.name);
  request.set_limit(flags.limit);
  const auto dump = call(flags, &Admin::Stub::DumpMap, request);
  if (!dump.ok()) return report(dump.status(), "weft bpf maps", env);
  Table table{.head = {dump->columns().begin(), dump->columns().end()}, .rows = {}};
  Json rows = Json::array();
  for (const auto& row : dump->rows()) {
    table.rows.push_back({row.cells().begin(), row.cells().end()});
    Json object = Json::object();
    for (int i = 0; i < row.cells_size() && i < dump->columns_size(); ++i)
      object[json_key(dump->columns(i))] = row.cells(i);
    rows.push_back(object);
  }
  print(Json{{"schema", "weft.bpf.map.v1"}, {"map", flags.name}, {"total", dump->total()}, {"rows", rows}},
        table, flags, env);
  if (static_cast<uint64_t>(dump->rows_size()) < dump->total())
    env.err << dump->rows_size() << " of " << dump->total() << " rows; next: the same with --limit "
            << std::min<uint64_t>(dump->total(), 10'000) << "\n";
  return kOk;
}

int bpf_stats(const Flags& flags, Environment& env) {
  const auto state = kernel(flags);
  if (!state.ok()) return report(state.status(), "weft check", env);
  Table table{.head = {"EVENT", "COUNT", "MEANING"}, .rows = {}};
  Json rows = Json::array();
  for (const auto& e : state->events()) {
    table.rows.push_back({e.event(), str_cat(e.count()), e.meaning()});
    rows.push_back({{"event", e.event()}, {"count", e.count()}, {"meaning", e.meaning()}});
  }
  print(Json{{"schema", "weft.bpf.stats.v1"}, {"events", rows}}, table, flags, env);
  return kOk;
}

int diff(const Flags& flags, Environment& env) {
  const auto reply = call(flags, &Admin::Stub::Diff, admin::v1::DiffRequest());
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  Table table{.head = {"SCOPE", "DESIRED", "AGENT", "KERNEL", "PROXY", "DRIFT", "FIRST DIFFERENCE"},
              .rows = {}};
  Table differences{.head = {"SCOPE", "OBJECT", "DIFFERENCE"}, .rows = {}};
  Json rows = Json::array();
  Json objects = Json::array();
  uint64_t drift = 0;
  for (const auto& r : reply->rows()) {
    drift += r.drift();
    const auto count = [](bool known, uint64_t value) { return known ? str_cat(value) : std::string("-"); };
    table.rows.push_back({r.scope(), str_cat(r.desired()), str_cat(r.agent()),
                          count(r.has_kernel(), r.kernel()), count(r.has_proxy(), r.proxy()),
                          str_cat(r.drift()), r.first().empty() ? "-" : r.first()});
    rows.push_back({{"scope", r.scope()},
                    {"desired", r.desired()},
                    {"agent", r.agent()},
                    {"kernel", r.has_kernel() ? Json(r.kernel()) : Json()},
                    {"proxy", r.has_proxy() ? Json(r.proxy()) : Json()},
                    {"drift", r.drift()},
                    {"firstDifference", r.first()}});
  }
  for (const auto& o : reply->objects()) {
    differences.rows.push_back({o.scope(), o.object(), o.difference()});
    objects.push_back({{"scope", o.scope()}, {"object", o.object()}, {"difference", o.difference()}});
  }
  std::string text = render_table(table);
  if (!differences.rows.empty()) str_append(&text, "\n", render_table(differences));
  print(Json{{"schema", "weft.diff.v1"}, {"scopes", rows}, {"objects", objects}}, text, flags, env);
  if (drift == 0) return kOk;
  if (static_cast<uint64_t>(reply->objects_size()) < drift)
    env.err << reply->objects_size() << " of " << drift << " differences are named\n";
  env.err << "agent, kernel or proxy are not as the configuration wants them; next: weft check\n";
  return kFindings;
}

}  // namespace weft::cli
