// See in_cluster.h.
#include "tools/weft/in_cluster.h"

#include <errno.h>
#include <grpcpp/create_channel_posix.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <sstream>
#include <thread>

#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/cluster_answers.h"
#include "tools/weft/cluster_commands.h"
#include "tools/weft/http_question.h"

namespace weft::cli {
namespace {

constexpr size_t kAtOnce = 8;
// Agents that are asked where a workload is, before none is believed to answer.
constexpr size_t kMostAsked = 3;

ClusterAsk ask_of(const Flags& flags) {
  ClusterAsk ask = cluster_of(flags, false);
  ask.ns = flags.cluster.weft_namespace;
  return ask;
}

using Work = std::function<int(const Flags&, Environment&)>;

std::string names_of(const std::vector<AgentPlace>& agents) {
  std::vector<std::string> names;
  for (const AgentPlace& agent : agents) names.push_back(agent.node);
  return join(names, ", ");
}

// Runs the command with one agent. What goes wrong on the way to it is known better by the way than by gRPC.
class WayToAgent {
 public:
  WayToAgent(const Flags& flags, Environment& env) : flags_(flags), env_(env) {}

  int run(const AgentPlace& agent, const Work& command) {
    absl::StatusOr<std::unique_ptr<AgentLink>> link = env_.reach_agent(ask_of(flags_), agent);
    if (!link.ok()) return report(link.status(), "weft check --cluster", env_);
    flags_.channel = grpc::CreateInsecureChannelFromFd("agent", (*link)->take_socket());
    std::ostringstream words;
    Environment inside = env_with(words);
    const int code = command(flags_, inside);
    flags_.channel = nullptr;
    const std::string problem = (*link)->problem();
    if (code == kUnavailable && !problem.empty())
      return report(absl::UnavailableError(str_cat("pod ", agent.ns, "/", agent.pod, ": ", problem)),
                    str_cat("kubectl -n ", agent.ns, " logs ", agent.pod,
                            " -c agent; an agent older than this weft "
                            "cannot be reached so: weft upgrade"),
                    env_);
    env_.err << printable_lines(words.str());
    return code;
  }

 private:
  Environment env_with(std::ostream& err) const {
    return {env_.out,
            err,
            env_.colour_terminal,
            env_.check_kernel,
            env_.analyze,
            env_.check_cluster,
            env_.count_pods,
            env_.run_program,
            env_.list_agents,
            env_.reach_agent};
  }

  Flags flags_;
  Environment& env_;
};

int ask_one(const Flags& flags, const AgentPlace& agent, const Work& command, Environment& env) {
  return WayToAgent(flags, env).run(agent, command);
}

int ask_each(const Flags& flags, const std::vector<AgentPlace>& agents, const Work& command,
             Environment& env) {
  std::set<std::string> nodes;
  for (const AgentPlace& agent : agents) nodes.insert(agent.node);
  std::vector<NodeAnswer> answers(agents.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < agents.size(); i = next++) {
      NodeAnswer& answer = answers[i];
      answer.node = agents[i].node;
      answer.nodes = &nodes;
      Flags of_node = flags;
      of_node.answer = &answer;
      std::ostringstream out, err;
      Environment inside{out, err, env.colour_terminal};
      inside.reach_agent = env.reach_agent;
      answer.code = ask_one(of_node, agents[i], command, inside);
      answer.error = err.str();
    }
  };
  std::vector<std::thread> workers;
  for (size_t i = 0; i < std::min(kAtOnce, agents.size()); ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  int code = kOk;
  size_t answered = 0;
  for (const NodeAnswer& answer : answers) {
    answered += answer.answered() ? 1 : 0;
    if (code == kOk) code = answer.code;
    if (!answer.error.empty()) env.err << answer.node << ": " << answer.error;
  }
  if (answered == 0) return code;
  if (flags.output == "table")
    env.out << printable_lines(merged_text(answers));
  else
    print(merged_json(answers), "", flags, env);
  return answered < answers.size() ? kPartial : code;
}

// "" when no agent knows it.
std::string node_of(const Flags& flags, const std::string& workload, const std::vector<AgentPlace>& agents,
                    Environment& env) {
  std::string found;
  const Work look = [&found](const Flags& asked, Environment&) -> int {
    admin::v1::ListRequest request;
    request.set_name(asked.name);
    const auto reply = call(asked, &admin::v1::Admin::Stub::ListWorkloads, request);
    if (!reply.ok()) return kUnavailable;
    for (const auto& row : reply->workloads()) found = row.node();
    return kOk;
  };
  Flags question = flags;
  question.name = workload;
  std::ostringstream quiet;
  Environment inside{quiet, quiet};
  inside.reach_agent = env.reach_agent;
  for (size_t i = 0; i < std::min(kMostAsked, agents.size()); ++i) {
    if (ask_one(question, agents[i], look, inside) == kOk) break;
  }
  return found;
}

// Its agent decides; another knows its objects too, and says what is wrong with the question.
const AgentPlace& agent_of(const Flags& flags, std::string workload, const std::vector<AgentPlace>& agents,
                           Environment& env) {
  if (agents.size() == 1) return agents.front();
  workload = in_namespace(flags, workload.substr(0, workload.find(':')));
  if (workload.find('/') == std::string::npos) workload = "default/" + workload;
  const std::string node = node_of(flags, workload, agents, env);
  const auto found = std::find_if(agents.begin(), agents.end(),
                                  [&node](const AgentPlace& agent) { return agent.node == node; });
  return found != agents.end() ? *found : agents.front();
}

struct Asking {
  Command command;
  Reach reach;
};
// Others are of this machine: its files, its namespaces, its kernel.
constexpr Asking kAsking[] = {
    {status, Reach::kEach},        {get_services, Reach::kEach},  {get_endpoints, Reach::kEach},
    {get_workloads, Reach::kEach}, {get_routes, Reach::kEach},    {conns, Reach::kEach},
    {cert_list, Reach::kEach},     {bpf_progs, Reach::kEach},     {bpf_maps, Reach::kEach},
    {bpf_stats, Reach::kEach},     {diff, Reach::kEach},          {edges, Reach::kEach},
    {trace, Reach::kClient},       {authz_check, Reach::kServer}, {authz_explain, Reach::kServer},
    {authz_shadow, Reach::kOne},   {observe, Reach::kOne},        {cert_show, Reach::kOne},
    {cert_rotate, Reach::kOne},    {bpf_map_dump, Reach::kOne}};

}  // namespace

Reach reach_of(Command command, const Flags& flags) {
  // With --cluster it asks the API server itself.
  if (command == check)
    return flags.cluster.node.empty() || flags.cluster.asked ? Reach::kNobody : Reach::kOne;
  for (const Asking& asking : kAsking) {
    if (asking.command != command) continue;
    // One table after the other, until interrupted.
    return command == edges && flags.follow ? Reach::kOne : asking.reach;
  }
  return Reach::kNobody;
}

bool is_astray(Command command, const Flags& flags, Environment& env) {
  const ClusterFlags& cluster = flags.cluster;
  if (reach_of(command, flags) != Reach::kNobody) return false;
  constexpr Command kHere[] = {enroll, unenroll, canary_run, canary_status, canary_rollback};
  const bool here = std::find(std::begin(kHere), std::end(kHere), command) != std::end(kHere);
  const bool named = !cluster.context.empty() || !cluster.kubeconfig.empty();
  if (cluster.node.empty() && !(here && named)) return false;
  const std::string flag = !cluster.node.empty()      ? "--node"
                           : !cluster.context.empty() ? "--context"
                                                      : "--kubeconfig";
  report(absl::InvalidArgumentError(here ? str_cat("this is done on its own node only, and not by ", flag)
                                         : "this asks no agent, and takes no --node"),
         here ? str_cat("the same on that node, without ", flag) : "the same without --node", env);
  return true;
}

bool asks_cluster(const Flags& flags) {
  const ClusterFlags& cluster = flags.cluster;
  if (!cluster.kubeconfig.empty() || !cluster.context.empty() || !cluster.node.empty()) return true;
  if (cluster.run_dir_given) return false;
  struct stat socket{};
  if (::stat(str_cat(flags.run_dir, "/agent.sock").c_str(), &socket) == 0 || errno == EACCES) return false;
  return !cluster_of(flags, false).kubeconfig.empty();
}

int run_in_cluster(const Flags& flags, Reach reach, Command command, Environment& env) {
  absl::StatusOr<std::vector<AgentPlace>> agents = env.list_agents(ask_of(flags));
  if (!agents.ok()) return report(agents.status(), "weft check --cluster", env);
  if (!flags.cluster.node.empty()) {
    const auto found = std::find_if(agents->begin(), agents->end(), [&](const AgentPlace& agent) {
      return agent.node == flags.cluster.node;
    });
    if (found != agents->end()) return ask_one(flags, *found, command, env);
    return report(absl::InvalidArgumentError(str_cat("no agent runs on node ", flags.cluster.node)),
                  str_cat("--node with one of ", names_of(*agents)), env);
  }
  switch (reach) {
    case Reach::kClient:
      return ask_one(flags, agent_of(flags, flags.from, *agents, env), command, env);
    case Reach::kServer:
      return ask_one(flags, agent_of(flags, flags.to, *agents, env), command, env);
    case Reach::kEach:
      return ask_each(flags, *agents, command, env);
    case Reach::kOne:
    case Reach::kNobody:
      break;
  }
  if (agents->size() == 1) return ask_one(flags, agents->front(), command, env);
  report(absl::InvalidArgumentError(str_cat("this asks one agent, and there are ", agents->size())),
         str_cat("the same with --node, one of ", names_of(*agents)), env);
  return kUsage;
}

}  // namespace weft::cli
