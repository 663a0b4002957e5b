// The control plane over an API server: the same mesh as over a folder with the same objects, the same
// findings, and errors that say what to do when the server cannot be used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "proto/istio/security.pb.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/kubernetes/manifest_json.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
namespace fs = std::filesystem;

// Where an object was written is the one thing that differs.
void clear_origins(google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      auto* inner = field->is_repeated() ? reflection->MutableRepeatedMessage(&message, field, i)
                                         : reflection->MutableMessage(&message, field);
      if (auto* origin = dynamic_cast<mesh::v1::Origin*>(inner)) {
        origin->clear_file();
        origin->clear_line();
      } else if (auto* any = dynamic_cast<google::protobuf::Any*>(inner);
                 any && any->Is<mesh::v1::Origin>()) {
        any->Clear();
      } else {
        clear_origins(*inner);
      }
    }
  }
}

template <typename Message>
std::string text_of(const Resource& resource) {
  Message message;
  EXPECT_TRUE(resource.decode(&message));
  clear_origins(message);
  return message.DebugString();
}

// By type and name.
std::map<std::string, std::string> texts_of(const Change& change) {
  std::map<std::string, std::string> out;
  for (const Resource& resource : change.upserted) {
    const std::string type(resource.type_url());
    std::string text;
    if (type == kAddressType) text = text_of<istio::workload::Address>(resource);
    if (type == kAuthorizationType) text = text_of<istio::security::Authorization>(resource);
    if (type == kRouteSetType) text = text_of<mesh::v1::RouteSet>(resource);
    if (type == kDestinationPolicyType) text = text_of<mesh::v1::DestinationPolicy>(resource);
    if (type == kAuthenticationType) text = text_of<mesh::v1::RequestAuthentication>(resource);
    if (type == kMeshConfigType) text = text_of<mesh::v1::MeshConfig>(resource);
    EXPECT_FALSE(text.empty()) << type;
    out[str_cat(type, " ", resource.name())] = text;
  }
  return out;
}

std::vector<std::string> codes_of(const Change& change) {
  std::vector<std::string> out;
  for (const Finding& finding : change.findings)
    out.push_back(str_cat(finding.code, " ", finding.object, " ", finding.field, " ", finding.message));
  std::sort(out.begin(), out.end());
  return out;
}

class KubernetesControlPlaneTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_ + "/config") << "current-context: c\n"
                                          "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                                          "clusters: [{name: c, cluster: {server: '"
                                       << server_.url() << "'}}]\nusers: [{name: u, user: {token: t}}]\n";
    options_.kubeconfig = folder_ + "/config";
    options_.node_name = "node1";
    options_.first_look = std::chrono::milliseconds(5);
  }
  void TearDown() override { control_plane_.reset(); }

  absl::Status start() {
    auto started = start_kubernetes(options_, [this](const Change& change) {
      const std::lock_guard lock(mutex_);
      changes_.push_back(change);
      changed_.notify_all();
    });
    if (started.ok()) control_plane_ = *std::move(started);
    return started.status();
  }
  bool wait_for_changes(size_t many) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return changes_.size() >= many; });
  }

  FakeApiServer server_;
  const ::weft::test::ScratchFolder scratch_;
  std::string folder_ = scratch_.path();
  KubernetesOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Change> changes_;
  std::unique_ptr<ControlPlane> control_plane_;
};

class SameMeshTest : public KubernetesControlPlaneTest, public testing::WithParamInterface<std::string> {};

std::vector<std::string> examples() {
  std::vector<std::string> out;
  for (const fs::directory_entry& entry : fs::directory_iterator("examples")) {
    if (entry.is_directory()) out.push_back(entry.path().filename().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST_P(SameMeshTest, AFolderAndAServerWithTheSameObjectsAreTheSameMesh) {
  fs::create_directory(folder_ + "/manifests");
  std::ofstream manifests(folder_ + "/manifests/all.yaml");
  for (const fs::directory_entry& file : fs::directory_iterator("examples/" + GetParam())) {
    if (file.path().extension() != ".yaml") continue;
    std::ostringstream text;
    text << std::ifstream(file.path()).rdbuf();
    for (Json& object : objects_of(text.str())) {
      // A server has no running pod that is on no node.
      if (object["kind"] == "Pod" && !object["spec"].contains("nodeName"))
        object["spec"]["nodeName"] = "node1";
      const std::string collection = collection_of(object);
      ASSERT_FALSE(collection.empty()) << object.dump();
      manifests << "---\n" << object.dump() << "\n";
      server_.put(collection, std::move(object));
    }
  }
  manifests.close();
  ASSERT_TRUE(start().ok());
  Change of_folder;
  const auto folder = ControlPlane::start({.config_dir = folder_ + "/manifests", .node_name = "node1"},
                                          [&of_folder](const Change& change) { of_folder = change; });
  ASSERT_TRUE(folder.ok()) << folder.status();
  const std::lock_guard lock(mutex_);
  EXPECT_THAT(of_folder.upserted, Not(IsEmpty()));
  EXPECT_EQ(texts_of(changes_.front()), texts_of(of_folder));
  EXPECT_EQ(changes_.front().local_pods, of_folder.local_pods);
  EXPECT_EQ(codes_of(changes_.front()), codes_of(of_folder));
}

INSTANTIATE_TEST_SUITE_P(Examples, SameMeshTest, testing::ValuesIn(examples()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST_F(KubernetesControlPlaneTest, OnlyPodsOfThisNodeAreLocalAndAChangeCarriesOnlyWhatChanged) {
  Json here = objects_of(
                  "{apiVersion: v1, kind: Pod, metadata: {name: here}, "
                  "spec: {nodeName: node1}, status: {phase: Running, podIP: 10.0.0.1}}")
                  .front();
  Json there = here;
  there["metadata"]["name"] = "there";
  there["spec"]["nodeName"] = "node2";
  there["status"]["podIP"] = "10.0.0.2";
  server_.put("/api/v1/pods", here);
  server_.put("/api/v1/pods", there);
  ASSERT_TRUE(start().ok());
  {
    const std::lock_guard lock(mutex_);
    ASSERT_EQ(changes_.size(), 1U);
    ASSERT_EQ(changes_[0].local_pods.size(), 1U);
    EXPECT_EQ(changes_[0].local_pods[0].name, "here");
    EXPECT_EQ(changes_[0].upserted.size(), 2U);
  }
  there["status"]["podIP"] = "10.0.0.3";
  server_.put("/api/v1/pods", there);
  ASSERT_TRUE(wait_for_changes(2));
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(changes_[1].generation, 2U);
  ASSERT_EQ(changes_[1].upserted.size(), 1U);
  EXPECT_EQ(changes_[1].upserted[0].name(), "Kubernetes//Pod/default/there");
}

TEST_F(KubernetesControlPlaneTest, ARefusedObjectKeepsItsLastGoodVersion) {
  Json web = objects_of(
                 "{apiVersion: v1, kind: Service, metadata: {name: web}, "
                 "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}")
                 .front();
  server_.put("/api/v1/services", web);
  ASSERT_TRUE(start().ok());
  web["spec"]["ports"][0]["port"] = 90000;
  server_.put("/api/v1/services", web);
  ASSERT_TRUE(wait_for_changes(2));
  const std::lock_guard lock(mutex_);
  EXPECT_THAT(changes_[1].removed, IsEmpty());
  EXPECT_THAT(changes_[1].upserted, IsEmpty());
  bool found = false;
  for (const Finding& finding : changes_[1].findings) {
    found = found || (finding.level == Finding::Level::kError && finding.file == "Service default/web" &&
                      finding.field == "spec.ports[0].port");
  }
  EXPECT_TRUE(found);
}

TEST_F(KubernetesControlPlaneTest, AServerThatIsAwayIsAnErrorThatNamesItAndTheNextStep) {
  server_.stop();
  options_.first_limit = std::chrono::milliseconds(300);
  const absl::Status status = start();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr(server_.url()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("next: "));
}

TEST_F(KubernetesControlPlaneTest, BeingToldToStopEndsTheStart) {
  server_.stop();
  options_.give_up = [] { return true; };
  EXPECT_EQ(start().code(), absl::StatusCode::kCancelled);
}

TEST_F(KubernetesControlPlaneTest, AKubeconfigThatIsNotThereIsAnErrorAtOnce) {
  options_.kubeconfig = folder_ + "/gone";
  EXPECT_THAT(start().ToString(), HasSubstr("access to the Kubernetes API"));
}

}  // namespace
}  // namespace weft::control_plane::test
