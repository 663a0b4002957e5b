// The check list; see checks.h. Each row says what to type next when it fails.
#include "agent/admin/checks.h"

#include <algorithm>

#include "base/pid_namespace.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

std::string join(const std::vector<std::string>& rows) {
  std::string out;
  for (const std::string& row : rows) str_append(&out, out.empty() ? "" : "; ", row);
  return out;
}

struct Report {
  admin::v1::CheckReport out;

  // `problem` empty: success.
  void row(const char* id, const char* category, const char* description, const std::string& problem,
           const char* hint, const char* level = "error") {
    admin::v1::CheckResult* result = out.add_checks();
    result->set_id(id);
    result->set_category(category);
    result->set_description(description);
    result->set_result(problem.empty() ? "success" : level);
    if (problem.empty()) return;
    result->set_error(problem);
    result->set_hint(hint);
  }
};

std::string kernel_errors(const std::vector<uint64_t>& stats) {
  constexpr std::pair<size_t, const char*> kErrors[] = {{WEFT_STAT_MARK_FAILED, "mark_failed"},
                                                        {WEFT_STAT_NO_LISTENER, "no_listener"},
                                                        {WEFT_STAT_ASSIGN_FAILED, "assign_failed"},
                                                        {WEFT_STAT_FLOW_LOST, "flow_lost"}};
  std::vector<std::string> rows;
  for (const auto& [index, name] : kErrors) {
    if (index < stats.size() && stats[index] != 0) rows.push_back(str_cat(name, " ", stats[index]));
  }
  return join(rows);
}

// One row for each: several may have different owners, and each its own next step.
void add_rivals(const std::vector<Rival>& rivals, Report* report) {
  for (const Rival& rival : rivals) {
    report->row("B-05", "kernel", describe(rival).c_str(), rival.meaning, rival.hint.c_str(),
                rival.effect == Rival::Effect::kShares ? "warning" : "error");
  }
  if (rivals.empty()) report->row("B-05", "kernel", "no program of others is on the hooks of Weft", "", "");
}

std::string proxy_problem(const ProxyState& proxy) {
  if (!proxy.connected) return "no proxy is connected to the agent";
  if (!proxy.beating) return "the proxy is connected but its workers do not turn";
  return "";
}

// Objects of a cluster have no lines.
std::string place_of(const control_plane::Finding& finding) {
  return finding.line == 0 ? finding.file : str_cat(finding.file, ":", finding.line);
}

void report_source(const std::vector<std::string>& problems, Report& report) {
  constexpr char kDescription[] = "the source of the configuration answers";
  constexpr std::string_view kNext = " (next: ";
  if (problems.empty()) report.row("A-06", "agent", kDescription, "", "");
  for (const std::string& problem : problems) {
    const size_t next = problem.rfind(kNext);
    std::string hint = next == std::string::npos ? "weft status" : problem.substr(next + kNext.size());
    if (hint.ends_with(')')) hint.pop_back();
    report.row("A-06", "agent", kDescription, problem.substr(0, next), hint.c_str(), "warning");
  }
}

// A pod that was found ran unmeshed for a while; how long is said in any case.
void report_starts(const PodStarts& starts, Report& report) {
  constexpr MonotonicNs kLong = kNsPerSecond;
  std::string description = "pods are captured as they start";
  if (starts.held > 0) str_append(&description, "; before their first container: ", starts.held);
  const std::string longest = str_cat(starts.window_longest / kNsPerMs, " ms");
  if (starts.found() > 0)
    str_append(&description, "; by their cgroup: ", starts.found(), ", ", longest, " after it at most");
  if (starts.running > 0) str_append(&description, "; that ran already: ", starts.running);
  report.row(
      "C-05", "capture", description.c_str(),
      starts.window_longest < kLong ? "" : str_cat("a pod ran for ", longest, " before it was captured"),
      "install the CNI plugin, which captures pods before they start", "warning");
}

}  // namespace

std::pair<std::string, uint32_t> fullest_map(const std::vector<MapStatus>& maps) {
  std::pair<std::string, uint32_t> fullest;
  for (const MapStatus& map : maps) {
    const uint32_t percent = map.capacity == 0 ? 0 : static_cast<uint32_t>(map.entries * 100 / map.capacity);
    if (fullest.first.empty() || percent > fullest.second) fullest = {map.name, percent};
  }
  return fullest;
}

void add_pod_facts(const Reconciler::View& view, const std::set<uint64_t>& served, NodeFacts* facts) {
  facts->generation = view.generation;
  facts->applied = view.applied_at.has_value();
  facts->kernel_problem = view.kernel_problem;
  for (const auto& [port, reason] : view.closed_ports)
    facts->closed_ports.push_back(str_cat(port, ": ", reason));
  for (const control_plane::Finding& finding : view.findings) {
    if (finding.level != control_plane::Finding::Level::kError) continue;
    if (facts->findings_error++ == 0)
      facts->first_finding = str_cat(place_of(finding), ": ", finding.message);
  }
  facts->pod_starts = view.pod_starts;
  for (const auto& [key, pod] : view.pods.pods()) {
    ++facts->eligible;
    if (pod.state != Pod::State::kCaptured) {
      facts->not_captured.push_back(str_cat(key, ": ", pod.reason));
      continue;
    }
    ++facts->captured;
    facts->namespaces.push_back({.name = key, .path = pod.captured_path});
    if (!pod.problem.empty()) facts->not_captured.push_back(str_cat(key, ": ", pod.problem));
    if (!served.contains(pod.netns_cookie)) facts->not_served.push_back(key);
  }
}

admin::v1::CheckReport run_checks(const NodeFacts& facts) {
  Report report;
  report.row("A-01", "agent", "the agent is up and has applied its configuration",
             facts.applied ? "" : "no configuration has been applied yet", "weft status");
  report.row("A-02", "agent", "the node proxy is connected and its workers turn", proxy_problem(facts.proxy),
             "systemctl status weft-proxy, or start weft-proxy on this node");
  const bool current = facts.acked_generation >= facts.generation;
  report.row("A-03", "agent", "the proxy uses the current configuration",
             !facts.proxy.connected || current ? ""
                                               : str_cat("the proxy uses generation ", facts.acked_generation,
                                                         ", the agent has ", facts.generation),
             "weft status", "warning");
  std::string refused = facts.findings_error == 0
                            ? ""
                            : str_cat(facts.findings_error, " refused, first: ", facts.first_finding);
  if (!facts.proxy_rejected.empty())
    str_append(&refused, refused.empty() ? "" : "; ", "by the proxy: ", join(facts.proxy_rejected));
  report.row("A-04", "agent", "no manifest is refused", refused,
             "weft status, then weft analyze on the folder it names", "warning");
  report.row("A-05", "agent", "every port of a gateway is open", join(facts.closed_ports), "ss -ltnp");
  report_source(facts.source_problems, report);

  std::vector<std::string> detached;
  for (const ProgramStatus& program : facts.programs) {
    if (!program.attached || !program.problem.empty()) {
      detached.push_back(
          str_cat(program.name, " at ", program.hook, program.problem.empty() ? "" : ": ", program.problem));
    }
  }
  std::string programs = join(detached);
  if (facts.programs.empty()) programs = "no program is loaded";
  report.row("B-01", "kernel", "all programs are attached", programs, "weft check --pre");
  const auto [map, percent] = fullest_map(facts.maps);
  report.row("B-02", "kernel", "every map is less than 80 % full",
             percent < 80 ? "" : str_cat(map, " is ", percent, " % full"),
             "curl -s http://127.0.0.1:15020/metrics | grep weft_bpf_map", "warning");
  report.row("B-03", "kernel", "what the agent wants is in the kernel's maps", facts.kernel_problem,
             "weft status, then restart weft-agent");
  report.row("B-04", "kernel", "the kernel programs counted no error", kernel_errors(facts.stats),
             "curl -s http://127.0.0.1:15020/metrics | grep weft_bpf_events_total", "warning");

  add_rivals(facts.rivals, &report);
  report.row("B-06", "kernel", "the kernel programs know the proxy by its process id", facts.pid_problem,
             kPidNamespaceHint);

  report.row("C-01", "capture", "every pod that asks for it is captured", join(facts.not_captured),
             "weft get workloads -A");
  const bool unserved = facts.proxy.connected && !facts.not_served.empty();
  report.row("C-04", "capture", "the proxy serves every captured pod",
             unserved ? join(facts.not_served)
                      : (!facts.proxy.connected && facts.captured > 0
                             ? "no proxy: after three seconds the fail mode of each pod decides"
                             : ""),
             "weft status");
  report_starts(facts.pod_starts, report);
  if (facts.cni_problem)
    report.row("C-06", "capture", "the runtime asks before pods start", *facts.cni_problem,
               "ls the folder that --cni-conf-dir names");
  return std::move(report.out);
}

}  // namespace weft::agent
