// Sidecars: who may reach declared destinations only, and what of them is refused.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "proto/weft/mesh/v1/egress.pb.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string sidecar(std::string_view name, std::string_view ns, std::string_view spec,
                    std::string_view created = "2026-01-01T00:00:00Z") {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: ", name,
                 ", namespace: ", ns, ", creationTimestamp: \"", created, "\"}\nspec: {", spec, "}\n---\n");
}

constexpr char kOnly[] = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
constexpr char kAny[] = "outboundTrafficPolicy: {mode: ALLOW_ANY}";

// Pods "web" and "job" of shop, and "web" of other.
std::string pods(std::string_view annotations = "") {
  std::string out;
  for (const auto& [ns, name] :
       {std::pair("shop", "web"), std::pair("shop", "job"), std::pair("other", "web")}) {
    str_append(&out, "apiVersion: v1\nkind: Pod\nmetadata: {name: ", name, ", namespace: ", ns,
               ", labels: {app: ", name, "}, annotations: {", annotations, "}}\nstatus: {podIP: 10.1.0.",
               out.size() % 250 + 1, "}\n---\n");
  }
  return out;
}

// "shop/web" of those that may reach declared destinations only.
std::vector<std::string> confined(const Compiled& compiled) {
  std::vector<std::string> out;
  for (const char* pod : {"shop/web", "shop/job", "other/web"}) {
    const auto found = workload(compiled, str_cat("Kubernetes//Pod/", pod));
    for (const auto& extension : found.extensions()) {
      mesh::v1::EgressPolicy policy;
      if (extension.name() == "weft.mesh.v1.EgressPolicy" && extension.config().UnpackTo(&policy) &&
          policy.registry_only())
        out.emplace_back(pod);
    }
  }
  return out;
}

std::vector<std::string> confined_by(const std::string& sidecars) {
  return confined(compile_text(str_cat(pods(), sidecars)));
}

TEST(EgressTest, EverybodyMayReachAnythingUnlessTold) {
  EXPECT_THAT(confined_by(""), IsEmpty());
  EXPECT_THAT(confined_by(sidecar("s", "shop", kAny)), IsEmpty());
  EXPECT_THAT(confined_by(sidecar("s", "shop", "")), IsEmpty()) << "it says nothing";
}

TEST(EgressTest, ASidecarIsForItsNamespaceAndThatOfTheRootForTheMesh) {
  EXPECT_THAT(confined_by(sidecar("s", "shop", kOnly)), ElementsAre("shop/web", "shop/job"));
  EXPECT_THAT(confined_by(sidecar("s", "istio-system", kOnly)),
              ElementsAre("shop/web", "shop/job", "other/web"));
  EXPECT_THAT(confined_by(sidecar("s", "istio-system", kOnly) + sidecar("s", "shop", kAny)),
              ElementsAre("other/web"));
}

TEST(EgressTest, ASelectorBeatsTheNamespaceAndTheOlderTheYounger) {
  const std::string job = str_cat("workloadSelector: {labels: {app: job}}, ", kOnly);
  EXPECT_THAT(confined_by(sidecar("s", "shop", job)), ElementsAre("shop/job"));
  EXPECT_THAT(confined_by(sidecar("s", "shop", kOnly) +
                          sidecar("j", "shop", str_cat("workloadSelector: {labels: {app: job}}, ", kAny))),
              ElementsAre("shop/web"));
  EXPECT_THAT(confined_by(sidecar("a", "shop", kAny) + sidecar("b", "shop", kOnly, "2025-01-01T00:00:00Z")),
              ElementsAre("shop/web", "shop/job"));
  EXPECT_THAT(confined_by(sidecar("s", "shop", "workloadSelector: {labels: {app: job}}") +
                          sidecar("t", "shop", kOnly)),
              ElementsAre("shop/web", "shop/job"))
      << "what says nothing leaves it to the next";
}

TEST(EgressTest, AModeThatIsNotWrittenIsIstiosFirst) {
  EXPECT_THAT(confined_by(sidecar("s", "shop", "outboundTrafficPolicy: {}")),
              ElementsAre("shop/web", "shop/job"));
}

// Past a proxy that does not answer nobody asks what is declared.
TEST(EgressTest, SuchPodsFailClosedUnlessTheySayOtherwise) {
  using FailMode = LocalPod::FailMode;
  const auto modes = [](std::string_view annotations) {
    std::vector<FailMode> out;
    for (const LocalPod& pod :
         compile_text(str_cat(pods(annotations), sidecar("s", "shop", kOnly))).local_pods)
      out.push_back(pod.fail_mode);
    return out;
  };
  EXPECT_THAT(modes(""), ElementsAre(FailMode::kDefault, FailMode::kClosed, FailMode::kClosed));
  EXPECT_THAT(modes("weft.dev/fail-mode: open"),
              ElementsAre(FailMode::kOpen, FailMode::kOpen, FailMode::kOpen));
}

TEST(EgressTest, ASelectorWithoutPodsAndASecondOneOfANamespaceAreFindings) {
  const auto code = [](const std::string& text) {
    const Compiled compiled = compile_text(pods() + text);
    return compiled.findings.size() == 1 ? compiled.findings[0].code : str_cat(compiled.findings.size());
  };
  EXPECT_EQ(code(sidecar("s", "shop", str_cat("workloadSelector: {labels: {app: none}}, ", kOnly))),
            "WF0003");
  EXPECT_EQ(code(sidecar("a", "shop", kOnly) + sidecar("b", "shop", kAny)), "WF0036");
}

TEST(EgressTest, WhatWouldNarrowMoreIsRefusedByName) {
  const auto refusal = [](std::string_view spec) {
    const ParsedFile parsed = parse_file("f", sidecar("s", "shop", spec));
    return parsed.findings.empty() ? "" : str_cat(parsed.findings[0].code, " ", parsed.findings[0].field);
  };
  EXPECT_EQ(refusal("egress: [{hosts: ['*/*']}]"), "");
  EXPECT_EQ(refusal("egress: [{hosts: ['./*']}]"), "WF0025 spec.egress[0].hosts[0]");
  EXPECT_EQ(refusal("egress: [{hosts: ['*/*'], port: {number: 80}}]"), "WF0025 spec.egress[0].port");
  EXPECT_EQ(refusal("ingress: [{port: {number: 80}}]"), "WF0025 spec.ingress");
  EXPECT_EQ(refusal("inboundConnectionPool: {}"), "WF0025 spec.inboundConnectionPool");
  EXPECT_EQ(refusal("outboundTrafficPolicy: {mode: ANY}"), "WF0002 spec.outboundTrafficPolicy.mode");
  EXPECT_EQ(refusal("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"),
            "WF0025 spec.outboundTrafficPolicy.mode");
  EXPECT_EQ(refusal("outboundTrafficPolicy: {egressProxy: {host: a}}"),
            "WF0025 spec.outboundTrafficPolicy.egressProxy");
  EXPECT_EQ(refusal("workloadSelector: {}"), "WF0026 spec.workloadSelector.labels");
}

}  // namespace
}  // namespace weft::control_plane
