// `weft bpf` and `weft diff`: what is in the kernel, and whether it is what the agent wants there. Called by
// cli.cc.
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
  print(Json{{"schema", "weft.bpf.progs.v1"}, {"programs", rows}}, render_table(table), flags, env);
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
  print(Json{{"schema", "weft.bpf.maps.v1"}, {"maps", rows}}, render_table(table), flags, env);
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
  print(Json{{"schema", "weft.bpf.stats.v1"}, {"events", rows}}, render_table(table), flags, env);
  return kOk;
}

int diff(const Flags& flags, Environment& env) {
  const auto reply = call(flags, &Admin::Stub::Diff, admin::v1::DiffRequest());
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  Table table{.head = {"SCOPE", "DESIRED", "AGENT", "KERNEL", "DRIFT", "FIRST DIFFERENCE"}, .rows = {}};
  Json rows = Json::array();
  bool drifted = false;
  for (const auto& r : reply->rows()) {
    drifted = drifted || r.drift() != 0;
    table.rows.push_back({r.scope(), str_cat(r.desired()), str_cat(r.agent()), str_cat(r.kernel()),
                          str_cat(r.drift()), r.first().empty() ? "-" : r.first()});
    rows.push_back({{"scope", r.scope()},
                    {"desired", r.desired()},
                    {"agent", r.agent()},
                    {"kernel", r.kernel()},
                    {"drift", r.drift()},
                    {"firstDifference", r.first()}});
  }
  print(Json{{"schema", "weft.diff.v1"}, {"scopes", rows}}, render_table(table), flags, env);
  if (!drifted) return kOk;
  env.err << "the kernel does not hold what the agent wants; next: weft check\n";
  return kFindings;
}

}  // namespace weft::cli
