// The command line against an Admin server in this process, on a real Unix socket: parsing, exit codes,
// tables, JSON, YAML.
#include "tools/weft/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tests/unit/tools/cli_world.h"
#include "tools/weft/output.h"

namespace weft::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// What GetStatus says of it.
admin::v1::Shortcut shortcut;

class FakeAdmin final : public admin::v1::Admin::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext*, const admin::v1::GetStatusRequest*,
                         admin::v1::NodeStatus* reply) override {
    reply->set_node("n1");
    reply->set_requests_total(200);
    reply->set_errors_total(1);
    reply->add_problems("A-02 no proxy (next: start weft-proxy)");
    auto* use = reply->add_pods_refused();
    use->set_workload("shop/web");
    (*use->mutable_refused())["pod_requests"] = 12;
    (*use->mutable_refused())["evicted"] = 3;
    *reply->mutable_shortcut() = shortcut;
    return grpc::Status::OK;
  }
  grpc::Status ListWorkloads(grpc::ServerContext*, const admin::v1::ListRequest*,
                             admin::v1::WorkloadList* reply) override {
    for (const char* name : {"web", "db"}) {
      auto* row = reply->add_workloads();
      row->set_namespace_("shop");
      row->set_name(name);
      row->set_capture("captured");
    }
    auto* use = reply->mutable_workloads(0)->mutable_use();
    use->set_connections(4);
    use->set_requests(2);
    use->set_buffered_bytes(16384);
    (*use->mutable_refused())["pod_waiting"] = 1;
    return grpc::Status::OK;
  }
  grpc::Status Check(grpc::ServerContext*, const admin::v1::CheckRequest*,
                     admin::v1::CheckReport* reply) override {
    auto* row = reply->add_checks();
    row->set_id("A-01");
    row->set_category("agent");
    row->set_description("the agent is up");
    row->set_result(broken ? "error" : "success");
    if (broken) row->set_error("down");
    if (broken) row->set_hint("weft status");
    return grpc::Status::OK;
  }
  grpc::Status ListServices(grpc::ServerContext*, const admin::v1::ListRequest* request,
                            admin::v1::ServiceList* reply) override {
    last_list = *request;
    if (request->namespace_() == "empty") return grpc::Status::OK;
    auto* row = reply->add_services();
    row->set_namespace_("shop");
    row->set_name("cart");
    row->add_addresses("10.0.0.1");
    row->add_ports("80/HTTP->8080");
    row->set_endpoints(2);
    return grpc::Status::OK;
  }
  grpc::Status Observe(grpc::ServerContext*, const admin::v1::ObserveRequest* request,
                       grpc::ServerWriter<proxy::v1::Exchange>* writer) override {
    proxy::v1::Exchange exchange;
    exchange.set_source_workload(request->from());
    exchange.set_destination_service("shop/cart");
    exchange.set_protocol("http/1.1");
    exchange.set_method("GET");
    exchange.set_path("/items");
    exchange.set_status(200);
    exchange.set_outcome("ok");
    writer->Write(exchange);
    return grpc::Status::OK;
  }
  grpc::Status ListConnections(grpc::ServerContext*, const admin::v1::ConnectionsRequest* request,
                               admin::v1::ConnectionList* reply) override {
    last_connections = *request;
    if (request->namespace_() == "empty") return grpc::Status::OK;
    auto* row = reply->add_connections();
    row->set_direction("outbound");
    row->set_path("direct");
    row->set_state("established");
    row->set_age_seconds(252.4);
    row->set_sent_bytes(1536);
    row->set_received_bytes(812);
    row->set_rtt_us(4120);
    row->set_source("shop/web");
    row->set_source_address("10.1.0.4:51234");
    row->set_destination("shop/db");
    row->set_destination_address("10.96.0.5:5432");
    row->set_backend_address("10.1.0.9:5432");
    reply->set_matched(3);
    return grpc::Status::OK;
  }
  grpc::Status DumpMap(grpc::ServerContext*, const admin::v1::DumpMapRequest* request,
                       admin::v1::MapDump* reply) override {
    if (request->name() != "m_netns")
      return grpc::Status(grpc::StatusCode::NOT_FOUND,
                          "no map m_nets to dump; there are m_netns; next: weft bpf maps");
    reply->add_columns("NETNS COOKIE");
    reply->add_columns("WORKLOAD");
    auto* row = reply->add_rows();
    row->add_cells("4127");
    row->add_cells("shop/web");
    reply->set_total(2);
    return grpc::Status::OK;
  }
  grpc::Status Diff(grpc::ServerContext*, const admin::v1::DiffRequest*,
                    admin::v1::DiffReport* reply) override {
    auto* configuration = reply->add_rows();
    configuration->set_scope("configuration");
    configuration->set_desired(3);
    configuration->set_agent(3);
    configuration->set_proxy(3);
    auto* services = reply->add_rows();
    services->set_scope("services");
    services->set_desired(2);
    services->set_agent(2);
    services->set_kernel(broken ? 1 : 2);
    if (!broken) return grpc::Status::OK;
    services->set_drift(3);
    services->set_first("shop/cart 10.0.0.1:80/tcp: missing in the kernel");
    auto* object = reply->add_objects();
    object->set_scope("services");
    object->set_object("shop/cart 10.0.0.1:80/tcp");
    object->set_difference("missing in the kernel");
    return grpc::Status::OK;
  }
  grpc::Status Enroll(grpc::ServerContext*, const admin::v1::EnrollRequest* request,
                      admin::v1::EnrollResponse* reply) override {
    if (request->netns_path() == "/nowhere") {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                          "shop/web cannot be captured; next: ip netns list");
    }
    reply->add_steps("captured " + request->workload());
    return grpc::Status::OK;
  }

  bool broken = false;
  admin::v1::ListRequest last_list;
  admin::v1::ConnectionsRequest last_connections;
};

class CliTest : public CliWorld<FakeAdmin> {
 protected:
  CliTest() { kernel_ = {{"K-01", "BTF is there", "success", "", ""}}; }
};

TEST_F(CliTest, StatusIsOneRowAndNamesEachProblemWithTheNextStep) {
  EXPECT_EQ(run({"status"}), kOk);
  EXPECT_THAT(out_, StartsWith("NODE  AGENT"));
  EXPECT_THAT(out_, HasSubstr("0.50"));
  EXPECT_THAT(out_, HasSubstr("problem: A-02 no proxy (next: start weft-proxy)"));
  EXPECT_THAT(err_, IsEmpty());
}

TEST_F(CliTest, StatusNamesThePodsOfWhichSomethingWasRefused) {
  EXPECT_EQ(run({"status"}), kOk);
  EXPECT_THAT(out_,
              HasSubstr("at its limits: shop/web: refused 3 evicted, 12 pod_requests (docs/limits.md)\n"));
  EXPECT_EQ(run({"status", "-o", "json"}), kOk);
  EXPECT_EQ(Json::parse(out_)["podsRefused"][0]["refused"]["pod_requests"], 12);
}

TEST_F(CliTest, StatusSaysWhetherTheShortcutIsTakenAndWhyNot) {
  EXPECT_EQ(run({"status"}), kOk);
  EXPECT_THAT(out_, Not(HasSubstr("shortcut")));
  shortcut.set_pods(2);
  shortcut.set_connections(3);
  shortcut.set_messages(40);
  shortcut.set_bytes(5000);
  (*shortcut.mutable_by_tcp())["shortcut_left"] = 6;
  EXPECT_EQ(run({"status"}), kOk);
  EXPECT_THAT(out_, HasSubstr("shortcut: 2 pods, 3 connections; past TCP: 40 sends, 5000 bytes; by TCP: "
                              "shortcut_left=6\n"));
  EXPECT_EQ(run({"status", "-o", "json"}), kOk);
  EXPECT_EQ(Json::parse(out_)["shortcut"]["byTcp"]["shortcut_left"], 6);
  shortcut.set_problem("it is Tuesday");
  EXPECT_EQ(run({"status"}), kOk);
  shortcut.Clear();
  EXPECT_THAT(out_,
              HasSubstr("shortcut: off for 2 pods that ask for it: it is Tuesday (docs/shortcut.md)\n"));
}

TEST_F(CliTest, WorkloadsSayWhatTheyUseAndWhatTheyWereRefused) {
  EXPECT_EQ(run({"get", "workloads", "-n", "shop"}), kOk);
  EXPECT_THAT(out_,
              ContainsRegex("NAME +ADDRESSES +NODE +CAPTURE +CONNECTIONS +REQUESTS +BUFFERED +REFUSED"));
  EXPECT_THAT(out_, ContainsRegex("web +- +- +captured +4 +2 +16384 +1 pod_waiting"));
  EXPECT_THAT(out_, ContainsRegex("db +- +- +captured +- +- +- +-"));
  EXPECT_EQ(run({"get", "workloads", "-n", "shop", "-o", "json"}), kOk);
  EXPECT_EQ(Json::parse(out_)["workloads"][0]["use"]["connections"], 4);
  EXPECT_FALSE(Json::parse(out_)["workloads"][1].contains("use"));
}

TEST_F(CliTest, ServicesComeAsTableJsonAndYaml) {
  EXPECT_EQ(run({"get", "services", "-n", "shop"}), kOk);
  EXPECT_EQ(
      out_,
      "NAMESPACE  NAME  ADDRESSES  ENDPOINTS  PORTS\nshop       cart  10.0.0.1   2          80/HTTP->8080\n");
  EXPECT_EQ(admin_.last_list.namespace_(), "shop");
  EXPECT_EQ(run({"get", "services", "-A", "-o", "json"}), kOk);
  EXPECT_EQ(admin_.last_list.namespace_(), "");
  EXPECT_EQ(Json::parse(out_)["services"][0]["endpoints"], 2);
  EXPECT_EQ(run({"get", "services", "shop/cart", "-o", "yaml"}), kOk);
  EXPECT_EQ(admin_.last_list.namespace_(), "");
  EXPECT_EQ(out_,
            "schema: weft.services.v1\nservices:\n  - namespace: shop\n    name: cart\n    hostname: \"\"\n  "
            "  addresses:\n"
            "      - \"10.0.0.1\"\n    ports:\n      - \"80/HTTP->8080\"\n    endpoints: 2\n");
}

TEST_F(CliTest, EmptyListSaysWhereItLooked) {
  EXPECT_EQ(run({"get", "services", "-n", "empty"}), kOk);
  EXPECT_EQ(err_, "no services in namespace empty; next: the same with -A\n");
}

TEST_F(CliTest, CheckFailsWhenOneCheckFailsAndKeepsTheJsonShape) {
  EXPECT_EQ(run({"check"}), kOk);
  admin_.broken = true;
  EXPECT_EQ(run({"check", "-o", "json"}), kRuntimeError);
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["success"], false);
  EXPECT_EQ(json["categories"][0]["checks"][0]["id"], "K-01");
  EXPECT_EQ(json["categories"][1]["categoryName"], "agent");
  EXPECT_EQ(json["categories"][1]["checks"][0]["hint"], "weft status");
  EXPECT_EQ(run({"check", "--pre"}), kOk);
  EXPECT_THAT(out_, ::testing::Not(HasSubstr("A-01")));
}

TEST_F(CliTest, DiffNamesEachObjectAndExitsWith79OnDriftOnly) {
  EXPECT_EQ(run({"diff"}), kOk);
  EXPECT_EQ(out_,
            "SCOPE          DESIRED  AGENT  KERNEL  PROXY  DRIFT  FIRST DIFFERENCE\n"
            "configuration  3        3      -       3      0      -\n"
            "services       2        2      2       -      0      -\n");
  admin_.broken = true;
  EXPECT_EQ(run({"diff"}), kFindings);
  EXPECT_THAT(out_, HasSubstr("\n\nSCOPE     OBJECT                     DIFFERENCE\n"
                              "services  shop/cart 10.0.0.1:80/tcp  missing in the kernel\n"));
  EXPECT_THAT(err_, HasSubstr("1 of 3 differences are named"));
  EXPECT_EQ(run({"diff", "-o", "json"}), kFindings);
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["schema"], "weft.diff.v1");
  EXPECT_TRUE(json["scopes"][0]["kernel"].is_null());
  EXPECT_EQ(json["scopes"][1]["drift"], 3);
  EXPECT_EQ(json["objects"][0]["object"], "shop/cart 10.0.0.1:80/tcp");
}

TEST_F(CliTest, CheckBeforeAnInstallationLooksForRivalsWhereTheAgentWillBe) {
  EXPECT_EQ(run({"check"}), kOk);
  EXPECT_FALSE(asked_.with_rivals) << "a running agent names them itself";
  kernel_.push_back(
      {"K-07", "cgroup/connect4: cil_sock4 (id 3) at /cg", "warning", "both run", "do nothing"});
  EXPECT_EQ(run({"check", "--pre", "--cgroup", "/cg", "--pin-root", "/bpf/weft"}), kOk);
  EXPECT_TRUE(asked_.with_rivals);
  EXPECT_EQ(asked_.cgroup, "/cg");
  EXPECT_EQ(asked_.pin_root, "/bpf/weft");
  EXPECT_THAT(out_, HasSubstr("WARN  K-07  cgroup/connect4: cil_sock4 (id 3) at /cg\n"));
}

TEST_F(CliTest, ColourIsOnlyThereWhenItIsAskedFor) {
  run({"check"});
  EXPECT_THAT(out_, ::testing::Not(HasSubstr("\033[")));
  run({"--color", "always", "check"});
  EXPECT_THAT(out_, HasSubstr("\033[32mOK"));
}

TEST_F(CliTest, ObservePrintsOneLinePerExchangeAndOneJsonObjectPerLine) {
  EXPECT_EQ(run({"observe", "-f", "--from", "shop/web"}), kOk);
  EXPECT_THAT(out_, HasSubstr("shop/web -> shop/cart  HTTP GET /items  200  ok"));
  EXPECT_EQ(run({"observe", "-f", "-o", "json"}), kOk);
  EXPECT_EQ(Json::parse(out_)["status"], 200);
}

TEST_F(CliTest, ConnsNamesBothEndsAndSaysWhatTheLimitCut) {
  EXPECT_EQ(run({"conns", "shop/web", "--to", "shop/d", "--limit", "1"}), kOk);
  EXPECT_EQ(admin_.last_connections.workload(), "shop/web");
  EXPECT_EQ(admin_.last_connections.to(), "shop/d");
  EXPECT_EQ(admin_.last_connections.limit(), 1u);
  EXPECT_THAT(out_,
              ContainsRegex("out +direct +established +4m12s +1.5K +812 +4.1ms +0 +shop/web +shop/db:5432 +"
                            "10.1.0.9:5432"));
  EXPECT_THAT(err_, StartsWith("1 of 3 connections, the oldest of each pod first; next: weft conns with"));
  EXPECT_EQ(run({"conns", "-o", "json"}), kOk);
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["matched"], 3);
  EXPECT_EQ(json["connections"][0]["backendAddress"], "10.1.0.9:5432");
  EXPECT_EQ(run({"conns", "-n", "empty"}), kOk);
  EXPECT_THAT(err_, HasSubstr("no open connection of a captured pod matches"));
}

TEST_F(CliTest, MapDumpIsATableOrJsonAndAnUnknownNameListsTheNames) {
  EXPECT_EQ(run({"bpf", "map", "dump", "m_netns", "--limit", "1"}), kOk);
  EXPECT_EQ(out_, "NETNS COOKIE  WORKLOAD\n4127          shop/web\n");
  EXPECT_EQ(err_, "1 of 2 rows; next: the same with --limit 2\n");
  EXPECT_EQ(run({"bpf", "map", "dump", "m_netns", "-o", "json"}), kOk);
  EXPECT_EQ(Json::parse(out_)["rows"][0]["netnsCookie"], "4127");
  EXPECT_EQ(run({"bpf", "map", "dump", "m_nets"}), kRuntimeError);
  EXPECT_EQ(err_, "error: no map m_nets to dump; there are m_netns\nnext: weft bpf maps\n");
}

TEST_F(CliTest, EnrollPrintsStepsAndRefusalsEndWithTheNextCommand) {
  EXPECT_EQ(run({"-n", "shop", "enroll", "web", "--netns", "/run/netns/web"}), kOk);
  EXPECT_EQ(out_, "captured shop/web\n");
  EXPECT_EQ(run({"enroll", "shop/web", "--netns", "/nowhere"}), kRuntimeError);
  EXPECT_EQ(err_, "error: shop/web cannot be captured\nnext: ip netns list\n");
}

TEST_F(CliTest, AbsentAgentIsCode69WithTheNextCommand) {
  server_.reset();
  EXPECT_EQ(run({"status"}), kUnavailable);
  EXPECT_THAT(err_, HasSubstr("\nnext: systemctl start weft-agent"));
  EXPECT_THAT(out_, IsEmpty());
}

TEST_F(CliTest, UnknownWordsAreCode64WithASuggestion) {
  EXPECT_EQ(run({"statsu"}), kUsage);
  EXPECT_EQ(err_, "error: unknown command statsu, did you mean status?\nnext: weft --help\n");
  EXPECT_EQ(run({"-n", "shop", "get", "service"}), kUsage);
  EXPECT_EQ(err_, "error: unknown command service, did you mean services?\nnext: weft get --help\n");
  EXPECT_EQ(run({"observe", "--folow"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("unknown flag --folow, did you mean --follow?"));
  EXPECT_EQ(run({"status", "-o", "xml"}), kUsage);
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({"completion"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("\nnext: weft completion --help\n"));
}

TEST_F(CliTest, VersionIsACommandAndAFlag) {
  EXPECT_EQ(run({"version"}), kOk);
  const std::string version = out_;
  EXPECT_THAT(version, StartsWith("weft "));
  EXPECT_EQ(run({"--version"}), kOk);
  EXPECT_EQ(out_, version);
}

TEST_F(CliTest, AnalyzeListsFileAndLineAndFailsAtTheChosenLevel) {
  const std::string file = folder_.file("a.yaml");
  std::ofstream(file) << "x";
  EXPECT_EQ(run({"analyze", file}), kOk);
  findings_ = {
      {"WF0008", "warning", "a.yaml", 3, "VirtualService shop/cart", "spec.http[0]", "no weight", "add one"}};
  EXPECT_EQ(run({"analyze", file}), kOk);
  EXPECT_EQ(out_, "a.yaml:3: warning WF0008 VirtualService shop/cart spec.http[0]: no weight (add one)\n");
  EXPECT_EQ(run({"analyze", file, "--fail-on", "warn"}), kFindings);
  findings_[0].level = "error";
  EXPECT_EQ(run({"analyze", file}), kFindings);
  EXPECT_EQ(run({"analyze", folder_.file("missing.yaml")}), kBadInput);
}

TEST_F(CliTest, CompletionKnowsEveryCommandAndHidesTheInternalOne) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_EQ(run({"completion", shell}), kOk);
    EXPECT_THAT(out_, HasSubstr("unenroll"));
    EXPECT_THAT(out_, ::testing::Not(HasSubstr("__docs")));
  }
  EXPECT_EQ(run({"completion", "fish"}), kOk);
  EXPECT_THAT(out_, HasSubstr("workload\\'s network namespace")) << "between apostrophes";
  EXPECT_EQ(run({"completion", "tcsh"}), kUsage);
}

TEST(OutputTest, TableStaysWithinItsWidthAndCutsTheLastColumn) {
  const std::string text = render_table({{"A", "B"}, {{"short", std::string(300, 'x')}}});
  const std::string row = text.substr(text.find('\n') + 1);
  EXPECT_EQ(row.size(), kTableWidth + 1);
  EXPECT_THAT(row, HasSubstr("...\n"));
}

TEST(OutputTest, YamlQuotesWhatWouldBeReadAsSomethingElse) {
  EXPECT_EQ(
      render_yaml(Json{{"a", "true"}, {"b", "x: y"}, {"c", "10"}, {"d", Json::array()}, {"e", {{"f", "g"}}}}),
      "a: \"true\"\nb: \"x: y\"\nc: \"10\"\nd: []\ne:\n  f: g\n");
}

TEST(DocsTest, CommandReferenceIsTheGeneratedOne) {
  std::ifstream file("docs/cli.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), cli_document()) << "next: weft __docs > docs/cli.md";
}

}  // namespace
}  // namespace weft::cli
