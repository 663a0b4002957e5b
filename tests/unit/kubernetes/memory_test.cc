// What one object of an API server costs in memory: what nobody reads must leave nothing behind.
#include <gtest/gtest.h>
#include <malloc.h>

#include "base/strings.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/kubernetes/kind_objects.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {
namespace {

// As a Deployment's pod looks: most of it is of no use to a mesh.
std::string pod_text(int number) {
  Json fields = Json::object();
  for (int i = 0; i < 60; ++i) fields[str_cat("f:field-with-a-long-name-", i)] = Json::object();
  Json environment = Json::array();
  for (int i = 0; i < 20; ++i)
    environment.push_back({{"name", str_cat("VARIABLE_", i)}, {"value", "some value"}});
  const std::string name = str_cat("web-7d4b9c6f5-", number);
  const Json pod{
      {"metadata",
       {{"name", name},
        {"namespace", "shop"},
        {"resourceVersion", std::to_string(number)},
        {"labels", {{"app", "web"}, {"pod-template-hash", "7d4b9c6f5"}, {"version", "v1"}}},
        {"annotations", {{"kubectl.kubernetes.io/last-applied-configuration", std::string(2000, 'x')}}},
        {"managedFields", {{{"manager", "kubelet"}, {"fieldsV1", fields}}}}}},
      {"spec",
       {{"nodeName", "node1"},
        {"serviceAccountName", "web"},
        {"containers",
         {{{"name", "web"},
           {"image", "registry/web:1"},
           {"env", environment},
           {"ports", {{{"containerPort", 80}}}}}}},
        {"volumes", {{{"name", "token"}}}}}},
      {"status",
       {{"phase", "Running"},
        {"podIP", "10.1.0.1"},
        {"conditions",
         {{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", "2026-01-01T00:00:00Z"}}}},
        {"containerStatuses", {{{"name", "web"}, {"imageID", std::string(100, 'i')}}}}}}};
  return pod.dump();
}

TEST(MemoryTest, APodOfSixKilobytesOfJsonCostsLessThanThreeInMemory) {
  constexpr int kPods = 500;
  const KubernetesKind* kind = nullptr;
  for (const KubernetesKind& each : kubernetes_kinds()) {
    if (each.name == "Pod") kind = &each;
  }
  ASSERT_NE(kind, nullptr);
  ASSERT_GT(pod_text(0).size(), 5000U);
  Store store;
  KindObjects objects(*kind);
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < kPods; ++i) {
    auto tree = parse_json(pod_text(i), kind->left_out);
    ASSERT_TRUE(tree.ok()) << tree.status();
    ASSERT_TRUE(objects.put(*std::move(tree), "v1"));
  }
  store.update(objects.take());
  const size_t each = (mallinfo2().uordblks - before) / kPods;
  ASSERT_EQ(store.objects().size(), static_cast<size_t>(kPods));
  EXPECT_LT(each, 3000U);
  RecordProperty("bytes_each", std::to_string(each));
}

}  // namespace
}  // namespace weft::control_plane::test
