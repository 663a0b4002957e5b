// See cluster_commands.h. Helm's own words go to the terminal as they come.
#include "tools/weft/cluster_commands.h"

#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "base/strings.h"
#include "tools/weft/interrupt.h"

namespace weft::cli {
namespace {

constexpr char kRelease[] = "weft";
constexpr char kDefaultChart[] = "/usr/share/weft/chart";
constexpr int kNoProgram = 127;
constexpr std::chrono::seconds kLookAgain(1);
// The agents' and proxies' grace and more.
constexpr std::chrono::seconds kPodsGone(300);

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string helm() {
  const std::string named = environment("WEFT_HELM");
  return named.empty() ? "helm" : named;
}

absl::StatusOr<std::string> chart_of(const Flags& flags) {
  const std::string given = !flags.cluster.chart.empty() ? flags.cluster.chart : environment("WEFT_CHART");
  const std::string chart = given.empty() ? kDefaultChart : given;
  // A registry's is Helm's to find.
  if (chart.starts_with("oci://") || ::access(str_cat(chart, "/Chart.yaml").c_str(), R_OK) == 0 ||
      chart.ends_with(".tgz"))
    return chart;
  return absl::InvalidArgumentError(
      str_cat("there is no chart at ", chart, "; next: --chart DIR, helm/weft in the sources of Weft"));
}

void add_access(const ClusterAsk& ask, std::vector<std::string>* command) {
  if (!ask.kubeconfig.empty()) command->insert(command->end(), {"--kubeconfig", ask.kubeconfig});
  if (!ask.context.empty()) command->insert(command->end(), {"--kube-context", ask.context});
}

void add_values(const Flags& flags, std::vector<std::string>* command) {
  for (const std::string& file : flags.cluster.values) command->insert(command->end(), {"--values", file});
  for (const std::string& set : flags.cluster.sets) command->insert(command->end(), {"--set", set});
}

// What to type when Helm has failed: found out then.
using Next = std::function<std::string()>;

int run_helm(const std::vector<std::string>& command, const Next& next, Environment& env) {
  env.out.flush();
  const int code = env.run_program(command);
  if (code == 0) return kOk;
  if (code == kNoProgram)
    return report(absl::NotFoundError(str_cat(command.front(), " cannot be run")),
                  "install Helm 3.14 or newer, or name one in WEFT_HELM", env);
  return report(absl::InternalError(str_cat(command.front(), " ", command[1], " ended with ", code)), next(),
                env);
}

// Helm renders it, and nothing is asked of the cluster.
int print_manifests(const Flags& flags, const ClusterAsk& ask, Environment& env) {
  const absl::StatusOr<std::string> chart = chart_of(flags);
  if (!chart.ok()) return report(chart.status(), "", env);
  std::vector<std::string> command{helm(), "template", kRelease, *chart, "--namespace", ask.ns};
  add_values(flags, &command);
  return run_helm(command, [] { return "look at what it says of the values"; }, env);
}

// What would make an installation fail, told before anything is changed, or what does.
std::vector<CheckRow> tell_errors(const ClusterAsk& ask, Environment& env) {
  std::vector<CheckRow> out = env.check_cluster(ask);
  std::erase_if(out, [](const CheckRow& row) { return row.result != "error"; });
  for (const CheckRow& row : out)
    env.err << "error: " << row.id << " " << row.description << ": " << row.error << "\nnext: " << row.hint
            << "\n";
  return out;
}

std::string look_at(const ClusterAsk& ask) { return str_cat("weft check --cluster -n ", ask.ns); }

int apply(const Flags& flags, const ClusterAsk& ask, std::vector<std::string> command, const Next& next,
          Environment& env) {
  add_access(ask, &command);
  add_values(flags, &command);
  return run_helm(command, next, env);
}

}  // namespace

ClusterAsk cluster_of(const Flags& flags, bool before) {
  ClusterAsk ask{.kubeconfig = flags.cluster.kubeconfig,
                 .context = flags.cluster.context,
                 .ns = flags.ns.empty() ? "weft-system" : flags.ns,
                 .before = before};
  if (!ask.kubeconfig.empty()) return ask;
  ask.kubeconfig = environment("KUBECONFIG");
  const std::string usual = environment("HOME") + "/.kube/config";
  if (ask.kubeconfig.empty() && ::access(usual.c_str(), R_OK) == 0) ask.kubeconfig = usual;
  return ask;
}

int install(const Flags& flags, Environment& env) {
  const ClusterAsk ask = cluster_of(flags, true);
  if (flags.dry_run) return print_manifests(flags, ask, env);
  const absl::StatusOr<std::string> chart = chart_of(flags);
  if (!chart.ok()) return report(chart.status(), "", env);
  if (!flags.cluster.skip_checks && !tell_errors(ask, env).empty()) return kFindings;
  return apply(
      flags, ask,
      {helm(), "install", kRelease, *chart, "--namespace", ask.ns, "--create-namespace", "--wait",
       "--timeout", flags.cluster.timeout},
      [&ask] { return look_at(ask); }, env);
}

int upgrade(const Flags& flags, Environment& env) {
  const ClusterAsk ask = cluster_of(flags, false);
  if (flags.dry_run) return print_manifests(flags, ask, env);
  const absl::StatusOr<std::string> chart = chart_of(flags);
  if (!chart.ok()) return report(chart.status(), "", env);
  // What was set before stays set; what the new chart brings has its defaults.
  const auto way_back = [&] {
    for (const CheckRow& row : tell_errors(ask, env)) {
      // Only where the new version is there and does not start: before Helm has made a revision of it,
      // its rollback would go one too far back.
      if (row.hint.find(" rollback ") != std::string::npos)
        return str_cat(helm(), " rollback ", kRelease, " -n ", ask.ns, " --wait, to what was there before");
    }
    return look_at(ask);
  };
  return apply(flags, ask,
               {helm(), "upgrade", kRelease, *chart, "--namespace", ask.ns, "--reset-then-reuse-values",
                "--wait", "--timeout", flags.cluster.timeout},
               way_back, env);
}

int uninstall(const Flags& flags, Environment& env) {
  const ClusterAsk ask = cluster_of(flags, false);
  std::vector<std::string> command{helm(), "uninstall", kRelease,    "--namespace",
                                   ask.ns, "--wait",    "--timeout", flags.cluster.timeout};
  if (flags.dry_run) command.push_back("--dry-run");
  add_access(ask, &command);
  const Next look = [&ask] { return str_cat("kubectl -n ", ask.ns, " get all"); };
  if (const int code = run_helm(command, look, env); code != kOk) return code;
  if (flags.dry_run) return kOk;
  // Helm returns while agents still clean their nodes.
  Interrupt interrupt;
  const auto end = std::chrono::steady_clock::now() + kPodsGone;
  while (true) {
    const absl::StatusOr<size_t> pods = env.count_pods(ask);
    if (!pods.ok()) return report(pods.status(), str_cat("kubectl -n ", ask.ns, " get pods"), env);
    if (*pods == 0) break;
    if (interrupt.asked() || std::chrono::steady_clock::now() > end) {
      return report(absl::DeadlineExceededError(str_cat(*pods, " pods of Weft are still there")),
                    str_cat("kubectl -n ", ask.ns, " get pods -o wide"), env);
    }
    interrupt.wait(kLookAgain);
  }
  env.out << "Weft is gone, and each agent has taken its programs and rules from its node.\n"
             "A node whose agent did not run then: weft-agent cleanup, there.\n";
  return kOk;
}

}  // namespace weft::cli
