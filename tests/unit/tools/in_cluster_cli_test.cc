// `weft` with a kubeconfig: which agents of a cluster a command asks, and how what they say stands together.
// Agents are Admin servers in this process, each on a Unix socket; how one is reached in a cluster is
// pod_exec_test.cc's.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "agent/feed/grpc_unix_server.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "proto/weft/admin/v1/authorization.grpc.pb.h"
#include "tests/unit/base/scratch_folder.h"
#include "tools/weft/cli.h"
#include "tools/weft/output.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Of one node; both know the same objects, and each what is on its own node.
class NodeAdmin final : public admin::v1::Admin::Service {
 public:
  explicit NodeAdmin(std::string node) : node_(std::move(node)) {}

  grpc::Status GetStatus(grpc::ServerContext*, const admin::v1::GetStatusRequest*,
                         admin::v1::NodeStatus* reply) override {
    reply->set_node(node_);
    if (node_ == "n2") reply->add_problems(problem);
    return refusal;
  }
  grpc::Status Enroll(grpc::ServerContext*, const admin::v1::EnrollRequest*,
                      admin::v1::EnrollResponse*) override {
    ++enrolled;
    return grpc::Status::OK;
  }
  grpc::Status ListServices(grpc::ServerContext*, const admin::v1::ListRequest*,
                            admin::v1::ServiceList* reply) override {
    for (const std::string& name : {std::string("cart"), "of-" + node_}) {
      auto* row = reply->add_services();
      row->set_namespace_("shop");
      row->set_name(name);
    }
    return grpc::Status::OK;
  }
  grpc::Status ListWorkloads(grpc::ServerContext*, const admin::v1::ListRequest* request,
                             admin::v1::WorkloadList* reply) override {
    for (const auto& [name, node] :
         {std::pair<std::string, std::string>{"web", "n1"}, {"db", "n2"}, {"vm", ""}}) {
      if (!request->name().empty() && request->name() != "shop/" + name) continue;
      auto* row = reply->add_workloads();
      row->set_namespace_("shop");
      row->set_name(name);
      row->set_node(node);
      row->set_capture(node == node_ ? "captured" : "not enrolled");
    }
    return grpc::Status::OK;
  }
  grpc::Status Trace(grpc::ServerContext*, const admin::v1::TraceRequest*,
                     admin::v1::TraceReport* reply) override {
    ++traced;
    reply->set_captured(true);
    return grpc::Status::OK;
  }

  // Without an end.
  grpc::Status Observe(grpc::ServerContext*, const admin::v1::ObserveRequest*,
                       grpc::ServerWriter<proxy::v1::Exchange>* writer) override {
    while (writer->Write(proxy::v1::Exchange())) {
    }
    return grpc::Status::OK;
  }

  std::atomic<int> traced = 0, enrolled = 0;
  // Set between calls.
  std::string problem = "A-02 no proxy";
  grpc::Status refusal;

 private:
  const std::string node_;
};

class NodeJudge final : public admin::v1::Authorization::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const admin::v1::AuthorizationRequest*,
                     admin::v1::AuthorizationReport* reply) override {
    ++judged;
    reply->set_allowed(true);
    return grpc::Status::OK;
  }

  std::atomic<int> judged = 0;
};

class LinkToSocket final : public AgentLink {
 public:
  // `path` empty: one that breaks at once.
  LinkToSocket(const std::string& path, std::string problem) : problem_(std::move(problem)) {
    int pair[2];
    if (path.empty() && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
      socket_ = pair[0];
      ::close(pair[1]);
      return;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ::fcntl(socket_, F_SETFL, O_NONBLOCK);
  }
  int take_socket() override { return socket_; }
  std::string problem() const override { return problem_; }

 private:
  int socket_ = -1;
  const std::string problem_;
};

class InClusterCliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("HOME", folder_.path().c_str(), 1);
    ::setenv("KUBECONFIG", "/nowhere/config", 1);
    start("n1", n1_, judge1_);
    start("n2", n2_, judge2_);
  }
  void TearDown() override { ::unsetenv("KUBECONFIG"); }

  void start(const std::string& node, NodeAdmin& admin, NodeJudge& judge) {
    paths_[node] = folder_.file(node);
    auto server = agent::GrpcUnixServer::start(paths_[node], agent::SocketAccess{}, {&admin, &judge});
    ASSERT_TRUE(server.ok()) << server.status();
    servers_.push_back(*std::move(server));
  }

  int run(const std::vector<std::string>& args) {
    std::ostringstream out, err;
    Environment env{out_to_ != nullptr ? *out_to_ : out, err};
    env.check_kernel = [](const KernelQuestion&) { return std::vector<KernelResult>(); };
    env.list_agents = [this](const ClusterAsk& ask) -> absl::StatusOr<std::vector<AgentPlace>> {
      asked_ = ask;
      if (!listing_.ok()) return listing_;
      std::vector<AgentPlace> agents;
      for (const auto& [node, path] : paths_)
        agents.push_back({.node = node, .ns = ask.ns, .pod = "weft-agent-" + node, .run_dir = ""});
      return agents;
    };
    env.reach_agent = [this](const ClusterAsk&,
                             const AgentPlace& agent) -> absl::StatusOr<std::unique_ptr<AgentLink>> {
      if (agent.node == refused_) return absl::PermissionDeniedError("no pods/exec; next: have it granted");
      return std::make_unique<LinkToSocket>(paths_.at(agent.node), problem_);
    };
    const int code = cli::run(args, env);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  const test::ScratchFolder folder_;
  NodeAdmin n1_{"n1"}, n2_{"n2"};
  NodeJudge judge1_, judge2_;
  std::vector<std::unique_ptr<agent::GrpcUnixServer>> servers_;
  std::map<std::string, std::string> paths_;
  ClusterAsk asked_;
  absl::Status listing_;
  std::string refused_, problem_;
  std::ostream* out_to_ = nullptr;  // instead of out_
  std::string out_, err_;
};

TEST_F(InClusterCliTest, RowsThatAllAgentsHaveStandOnceAndOthersNameTheirNodes) {
  EXPECT_EQ(run({"get", "services", "-A"}), kOk) << err_;
  EXPECT_EQ(out_,
            "NODE  NAMESPACE  NAME   ADDRESSES  ENDPOINTS  PORTS\n"
            "all   shop       cart   -          0          -\n"
            "n1    shop       of-n1  -          0          -\n"
            "n2    shop       of-n2  -          0          -\n");
  EXPECT_EQ(asked_.kubeconfig, "/nowhere/config");
  EXPECT_EQ(asked_.ns, "weft-system");
}

TEST_F(InClusterCliTest, AWorkloadIsAsTheAgentOfItsNodeSaysIt) {
  EXPECT_EQ(run({"get", "workloads", "-A"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("AGENT  NAMESPACE  NAME  ADDRESSES  NODE  CAPTURE"));
  EXPECT_THAT(out_, HasSubstr("n1     shop       web   -          n1    captured"));
  EXPECT_THAT(out_, HasSubstr("n2     shop       db    -          n2    captured"));
  EXPECT_THAT(out_, HasSubstr("all    shop       vm    -          -     not enrolled"));
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 4);
}

TEST_F(InClusterCliTest, StatusHasARowOfEachNodeAndWhatIsWrongBelow) {
  EXPECT_EQ(run({"status", "--context", "prod", "--weft-namespace", "mesh"}), kOk) << err_;
  EXPECT_THAT(out_, ::testing::StartsWith("NODE  AGENT"));
  EXPECT_THAT(out_, HasSubstr("\nn1    up"));
  EXPECT_THAT(out_, HasSubstr("\nn2    up"));
  EXPECT_THAT(out_, HasSubstr("n2:\nproblem: A-02 no proxy\n"));
  EXPECT_EQ(asked_.context, "prod");
  EXPECT_EQ(asked_.ns, "mesh");
}

TEST_F(InClusterCliTest, OneNodeIsAskedAloneAndAnswersAsThere) {
  EXPECT_EQ(run({"--node", "n2", "get", "services", "-A"}), kOk) << err_;
  EXPECT_THAT(out_, ::testing::StartsWith("NAMESPACE  NAME"));
  EXPECT_THAT(out_, HasSubstr("of-n2"));
  EXPECT_THAT(out_, Not(HasSubstr("of-n1")));
  EXPECT_EQ(run({"--node", "n7", "status"}), kBadInput);
  EXPECT_EQ(err_, "error: no agent runs on node n7\nnext: --node with one of n1, n2\n");
}

TEST_F(InClusterCliTest, JsonHasWhatEachNodeSaid) {
  EXPECT_EQ(run({"-o", "json", "get", "services", "-A"}), kOk) << err_;
  const Json value = Json::parse(out_);
  EXPECT_EQ(value["schema"], "weft.nodes.v1");
  EXPECT_EQ(value["nodes"][1]["node"], "n2");
  EXPECT_EQ(value["nodes"][1]["answer"]["schema"], "weft.services.v1");
}

TEST_F(InClusterCliTest, WhatOneAgentDoesNotAnswerIsSaidAndTheRestIsThere) {
  refused_ = "n2";
  EXPECT_EQ(run({"get", "services", "-A"}), kPartial);
  EXPECT_THAT(out_, HasSubstr("n1    shop       of-n1"));
  EXPECT_EQ(err_, "n2: error: no pods/exec\nnext: have it granted\n");
  EXPECT_EQ(run({"-o", "json", "get", "services", "-A"}), kPartial);
  EXPECT_THAT(Json::parse(out_)["nodes"][1]["error"].get<std::string>(), HasSubstr("no pods/exec"));
  refused_ = "n1";
  EXPECT_EQ(run({"--node", "n1", "status"}), kPermission);
  listing_ = absl::PermissionDeniedError("no list of pods; next: have it granted");
  EXPECT_EQ(run({"status"}), kPermission);
  EXPECT_EQ(err_, "error: no list of pods\nnext: have it granted\n");
}

TEST_F(InClusterCliTest, WhyAWayBrokeIsSaidInsteadOfWhatGrpcMakesOfIt) {
  paths_["n2"] = "";
  problem_ = "exec: \"weft\": executable file not found";
  EXPECT_EQ(run({"--node", "n2", "status"}), kUnavailable);
  EXPECT_THAT(err_,
              HasSubstr("error: pod weft-system/weft-agent-n2: exec: \"weft\": executable file not found\n"));
  EXPECT_THAT(err_, HasSubstr("weft upgrade"));
}

TEST_F(InClusterCliTest, AQuestionAboutAPodIsForTheAgentOfItsNode) {
  EXPECT_EQ(run({"-n", "shop", "trace", "db", "cart:80"}), kOk) << err_;
  EXPECT_EQ(n1_.traced, 0);
  EXPECT_EQ(n2_.traced, 1);
  EXPECT_EQ(run({"authz", "check", "shop/db", "shop/web:80"}), kOk) << err_;
  EXPECT_EQ(judge1_.judged, 1);
  EXPECT_EQ(judge2_.judged, 0);
}

TEST_F(InClusterCliTest, WhatIsOfOneAgentNeedsItsName) {
  EXPECT_EQ(run({"observe"}), kUsage);
  EXPECT_EQ(err_, "error: this asks one agent, and there are 2\nnext: the same with --node, one of n1, n2\n");
  EXPECT_EQ(run({"edges", "-w"}), kUsage);
}

// What was meant for another node is not done on this one.
TEST_F(InClusterCliTest, WhatIsDoneOnItsOwnNodeIsNotDoneByName) {
  std::filesystem::create_symlink(paths_["n1"], folder_.file("agent.sock"));
  const auto here = [this](std::vector<std::string> args) {
    args.insert(args.begin(), {"--run-dir", folder_.path()});
    return run(args);
  };
  EXPECT_EQ(here({"--node", "n2", "enroll", "shop/web"}), kUsage);
  EXPECT_EQ(err_,
            "error: this is done on its own node only, and not by --node\n"
            "next: the same on that node, without --node\n");
  EXPECT_EQ(here({"unenroll", "shop/web", "--context", "prod"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("next: the same on that node, without --context\n"));
  EXPECT_EQ(here({"canary", "status", "--file", "f", "--to", "v2", "--kubeconfig", "k"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("next: the same on that node, without --kubeconfig\n"));
  EXPECT_EQ(n1_.enrolled, 0);
  EXPECT_EQ(here({"--node", "n2", "version"}), kUsage);
  EXPECT_EQ(err_, "error: this asks no agent, and takes no --node\nnext: the same without --node\n");
  EXPECT_EQ(here({"enroll", "shop/web"}), kOk) << err_;
  EXPECT_EQ(n1_.enrolled, 1);
  EXPECT_EQ(here({"--context", "prod", "version"}), kOk) << "it means nothing there, and does no harm";
}

// As of `head` that has seen enough; no signal ends this process.
TEST_F(InClusterCliTest, OutputThatNobodyTakesEndsWhatFollows) {
  class : public std::streambuf {
  } closed;
  std::ostream nobody(&closed);
  out_to_ = &nobody;
  EXPECT_EQ(run({"--node", "n1", "observe", "-f"}), kOk) << err_;
  EXPECT_EQ(err_, "");
}

// An agent of another node may be anybody's by now; this terminal is not its own.
TEST_F(InClusterCliTest, WhatAgentsSayMovesNoTerminal) {
  n2_.problem =
      "A-02 \x1b]0;evil\x07 \xc2\x9b"
      "2J no proxy";
  EXPECT_EQ(run({"--color", "always", "status"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("n2:\n\x1b[31mproblem: \x1b[0mA-02  ]0;evil   2J no proxy\n"));
  n2_.refusal = grpc::Status(grpc::StatusCode::INTERNAL, "no\x1b[2J\nerror: more; next: weft\x1b[1A check");
  EXPECT_EQ(run({"--node", "n2", "status"}), kRuntimeError);
  EXPECT_EQ(err_, "error: no [2J error: more\nnext: weft [1A check\n");
  EXPECT_EQ(run({"status"}), kPartial);
  EXPECT_EQ(err_, "n2: error: no [2J error: more\nnext: weft [1A check\n");
}

TEST_F(InClusterCliTest, TheAgentOfThisMachineComesFirst) {
  listing_ = absl::InternalError("the cluster was asked");
  // Its socket is there, or the caller says where it is.
  std::filesystem::create_symlink(paths_["n1"], folder_.file("agent.sock"));
  EXPECT_EQ(run({"--run-dir", folder_.path(), "status"}), kOk) << err_;
  EXPECT_EQ(run({"--run-dir", "/nowhere", "status"}), kUnavailable);
  EXPECT_THAT(err_, HasSubstr("no agent listens on /nowhere/agent.sock"));
  // Without a kubeconfig there is no cluster to ask.
  ::unsetenv("KUBECONFIG");
  EXPECT_EQ(run({"status"}), kUnavailable);
  EXPECT_THAT(err_, HasSubstr("no agent listens on /run/weft/agent.sock"));
}

}  // namespace
}  // namespace weft::cli
