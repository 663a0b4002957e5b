// The CNI plugin as a runtime calls it: what it asks, what it passes on, and whom it lets start without an
// agent.
#include "agent/cni/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;
using CniVerdict = CniAnswer::Verdict;

class CniPluginTest : public ::testing::Test {
 protected:
  CniPluginTest() {
    environment_ = {{"CNI_COMMAND", "ADD"},
                    {"CNI_NETNS", "/var/run/netns/cni-1"},
                    {"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-1"}};
    config_ = {{"cniVersion", "0.4.0"},
               {"name", "podnet"},
               {"type", "weft-cni"},
               {"socket", "/run/weft/cni.sock"},
               {"namespacesFile", "/run/weft/cni-namespaces"},
               {"exemptNamespaces", {"kube-system"}},
               {"prevResult", {{"cniVersion", "0.4.0"}, {"ips", {{{"address", "10.1.0.5/24"}}}}}}};
  }
  CniPlugin::Outcome run(const std::string& input) {
    const CniPlugin plugin{.environment = [this](const char* name) { return environment_[name]; },
                           .ask =
                               [this](const std::string& socket, const CniRequest& request, int timeout) {
                                 socket_ = socket;
                                 timeout_ = timeout;
                                 asked_.push_back(request);
                                 return answer_;
                               },
                           .read_file = [this](const std::string&) { return namespaces_; }};
    return plugin.run(input);
  }
  CniPlugin::Outcome run() { return run(config_.dump()); }
  // The error's code, after a look at the rest of it.
  static int code_of(const CniPlugin::Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 1);
    const Json error = Json::parse(outcome.output, nullptr, false);
    EXPECT_TRUE(error.is_object() && error.contains("cniVersion") && error.contains("msg")) << outcome.output;
    return error.is_object() ? error.value("code", 0) : 0;
  }

  std::map<std::string, std::string> environment_;
  Json config_;
  std::optional<CniAnswer> answer_ = CniAnswer{CniVerdict::kCaptured, ""};
  std::optional<std::string> namespaces_ = "shop\n";
  std::vector<CniRequest> asked_;
  std::string socket_;
  int timeout_ = 0;
};

TEST_F(CniPluginTest, ACapturedPodStartsWithTheResultOfThePluginBefore) {
  const CniPlugin::Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(Json::parse(outcome.output), config_["prevResult"]);
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0], (CniRequest{"ADD", "shop", "web", "u-1", "/var/run/netns/cni-1"}));
  EXPECT_EQ(socket_, "/run/weft/cni.sock");
  EXPECT_EQ(timeout_, 10);
}

TEST_F(CniPluginTest, ArgumentsAreUnderstoodInAnyOrder) {
  std::vector<std::string> parts{"IgnoreUnknown=1", "K8S_POD_NAMESPACE=shop",         "K8S_POD_NAME=web",
                                 "K8S_POD_UID=u-1", "K8S_POD_INFRA_CONTAINER_ID=0=1", "nonsense"};
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::shuffle(parts.begin(), parts.end(), random);
    std::string& text = environment_["CNI_ARGS"];
    text.clear();
    for (const std::string& part : parts) text += (text.empty() ? "" : ";") + part;
    run();
    EXPECT_EQ(asked_.back(), (CniRequest{"ADD", "shop", "web", "u-1", "/var/run/netns/cni-1"})) << text;
  }
}

TEST_F(CniPluginTest, APodThatIsRefusedDoesNotStartAndSaysWhy) {
  answer_ = CniAnswer{CniVerdict::kRefused, "no slot is free; next: weft check"};
  const CniPlugin::Outcome outcome = run();
  EXPECT_EQ(code_of(outcome), 101);
  EXPECT_THAT(outcome.output, HasSubstr("shop/web: no slot is free; next: weft check"));
}

TEST_F(CniPluginTest, WithoutAnAgentOnlyPodsOutsideTheMeshStart) {
  answer_ = std::nullopt;
  EXPECT_EQ(code_of(run()), 100);
  namespaces_ = "shop-2\nother\n";
  EXPECT_EQ(run().exit_code, 0);
  namespaces_ = std::nullopt;
  EXPECT_EQ(code_of(run()), 100) << "nobody knows which pods are the mesh's";
  environment_["CNI_ARGS"] = "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns";
  EXPECT_EQ(run().exit_code, 0) << "a cluster must be able to begin";
}

TEST_F(CniPluginTest, APodThatTheAgentWasNotToldOfStartsAsIfNobodyHadAnswered) {
  answer_ = CniAnswer{CniVerdict::kUnknown, "the API server has not told of it yet"};
  EXPECT_EQ(code_of(run()), 101);
  EXPECT_THAT(run().output, HasSubstr("the API server has not told of it yet"));
  namespaces_ = "shop-2\nother\n";
  EXPECT_EQ(run().exit_code, 0);
  namespaces_ = std::nullopt;
  EXPECT_EQ(code_of(run()), 101);
  environment_["CNI_ARGS"] = "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=etcd";
  EXPECT_EQ(run().exit_code, 0) << "the server that is to tell of it";
}

TEST_F(CniPluginTest, ADelNeverFailsAndMayComeTwiceWithoutANamespace) {
  environment_["CNI_COMMAND"] = "DEL";
  config_.erase("prevResult");
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_EQ(run().output, "");
  environment_["CNI_NETNS"] = "";
  answer_ = std::nullopt;
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_EQ(asked_.back().netns, "");
  config_.erase("socket");
  EXPECT_EQ(run().exit_code, 0);
}

TEST_F(CniPluginTest, ACheckFailsForAPodThatIsNotCapturedAnyMore) {
  environment_["CNI_COMMAND"] = "CHECK";
  EXPECT_EQ(run().exit_code, 0);
  answer_ = CniAnswer{CniVerdict::kRefused, "released"};
  EXPECT_EQ(code_of(run()), 101);
}

TEST_F(CniPluginTest, WhatIsNoPodOfKubernetesIsPassedOnUnasked) {
  environment_["CNI_ARGS"] = "";
  EXPECT_EQ(Json::parse(run().output), config_["prevResult"]);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(CniPluginTest, VersionsAreToldWithoutAConfiguration) {
  environment_["CNI_COMMAND"] = "VERSION";
  const Json told = Json::parse(run("").output);
  EXPECT_THAT(told["supportedVersions"].dump(), HasSubstr("\"0.4.0\",\"1.0.0\""));
}

TEST_F(CniPluginTest, BadInputHasTheCodesOfTheSpecification) {
  EXPECT_EQ(code_of(run("{")), 6);
  EXPECT_EQ(code_of(run("[]")), 6);
  EXPECT_EQ(code_of(run(std::string(100'000, '['))), 6);
  const Json good = config_;
  config_["cniVersion"] = "0.1.0";
  EXPECT_EQ(code_of(run()), 1);
  config_ = good;
  config_["timeoutSeconds"] = 0;
  EXPECT_EQ(code_of(run()), 7);
  config_ = good;
  config_["exemptNamespaces"] = "kube-system";
  EXPECT_EQ(code_of(run()), 7);
  config_ = good;
  config_.erase("prevResult");
  EXPECT_EQ(code_of(run()), 7);
  config_ = good;
  environment_["CNI_NETNS"] = "";
  EXPECT_EQ(code_of(run()), 4);
  environment_["CNI_COMMAND"] = "FLY";
  EXPECT_EQ(code_of(run()), 4);
  EXPECT_TRUE(asked_.empty());
}

TEST(CniMessageTest, RequestsAndAnswersComeBackAsTheyWere) {
  const CniRequest request{"ADD", "shop", "web", "u-1", "/var/run/netns/\"odd\"\n"};
  EXPECT_EQ(decode_cni_request(encode(request)), request);
  for (const CniVerdict verdict :
       {CniVerdict::kCaptured, CniVerdict::kOutside, CniVerdict::kUnknown, CniVerdict::kRefused})
    EXPECT_EQ(decode_cni_answer(encode(CniAnswer{verdict, "why"})), (CniAnswer{verdict, "why"}));
  for (const char* text : {"", "{", "[]", "{}", R"({"command":"FLY","namespace":"a","name":"b"})",
                           R"({"command":"ADD","namespace":1,"name":"b"})"}) {
    EXPECT_EQ(decode_cni_request(text), std::nullopt) << text;
    EXPECT_EQ(decode_cni_answer(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace weft::agent
