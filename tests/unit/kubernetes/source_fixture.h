// A KubernetesSource against the fake API server, with short pauses, and what it has told so far. Tests wait
// for what is told or asked, never for time.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/strings.h"
#include "control-plane/kubernetes/kubernetes_source.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {

inline constexpr char kServices[] = "/api/v1/services";
inline constexpr char kPods[] = "/api/v1/pods";
inline constexpr char kPolicies[] = "/apis/security.istio.io/v1/authorizationpolicies";
inline constexpr char kVirtualServices[] = "/apis/networking.istio.io/v1/virtualservices";
inline constexpr char kDestinationRules[] = "/apis/networking.istio.io/v1/destinationrules";

inline bool is_list(const FakeApiServer::Request& r) { return !r.is_watch(); }
inline bool is_streamed(const FakeApiServer::Request& r) { return r.streams_list(); }
inline bool is_plain_watch(const FakeApiServer::Request& r) { return r.is_watch() && !r.streams_list(); }
inline bool any(const FakeApiServer::Request&) { return true; }

inline Json service(const std::string& name, int port = 80) {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"namespace", "shop"}, {"name", name}}},
          {"spec", {{"clusterIP", "10.0.0.1"}, {"ports", {{{"port", port}}}}}}};
}

inline Json pod(const std::string& name, const std::string& node = "node1") {
  Json out{{"apiVersion", "v1"},
           {"kind", "Pod"},
           {"metadata", {{"namespace", "shop"}, {"name", name}}},
           {"spec", {{"containers", {{{"name", "c"}}}}}},
           {"status", {{"phase", "Running"}, {"podIP", "10.1.0.1"}}}};
  if (!node.empty()) out["spec"]["nodeName"] = node;
  return out;
}

inline Json policy(const std::string& name) {
  return {{"apiVersion", "security.istio.io/v1"},
          {"kind", "AuthorizationPolicy"},
          {"metadata", {{"namespace", "shop"}, {"name", name}}},
          {"spec", Json::object()}};
}

class SourceTest : public testing::Test {
 protected:
  using Request = FakeApiServer::Request;
  using Reply = FakeApiServer::Reply;

  void SetUp() override {
    options_.timing.first_retry = std::chrono::milliseconds(5);
    options_.timing.longest_retry = std::chrono::milliseconds(40);
    options_.timing.first_look = std::chrono::milliseconds(5);
    options_.timing.longest_look = std::chrono::milliseconds(20);
    options_.timing.gone_for_sure = std::chrono::milliseconds(30);
    options_.gather = std::chrono::milliseconds(1);
    options_.seed = 1;
    access_.server = server_.url();
  }
  void TearDown() override { source_.reset(); }

  void start() {
    auto source = KubernetesSource::start(access_, options_, [this](Store::Changes changes) {
      const std::lock_guard lock(mutex_);
      ++told_;
      for (auto& [place, file] : changes) {
        if (file)
          state_[place] = *std::move(file);
        else
          state_.erase(place);
      }
      changed_.notify_all();
    });
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }
  void start_and_wait() {
    start();
    ASSERT_TRUE(source_->wait_for_first(kLimit, {})) << testing::PrintToString(source_->report().problems);
  }

  template <typename Condition>
  bool wait_until(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, condition);
  }
  bool holds(const std::string& place) {
    return wait_until([&] { return state_.contains(place) && !state_.at(place).objects.empty(); });
  }
  bool lost(const std::string& place) {
    return wait_until([&] { return !state_.contains(place); });
  }
  // The number of the first port of a Service; 0: it is not there.
  int port_of(const std::string& place) {
    const auto found = state_.find(place);
    if (found == state_.end() || found->second.objects.empty()) return 0;
    return std::get<Service>(found->second.objects.front()).ports.front().number;
  }
  bool has_port(const std::string& place, int port) {
    return wait_until([&] { return port_of(place) == port; });
  }
  size_t told() {
    const std::lock_guard lock(mutex_);
    return told_;
  }

  SourceReport::Kind counts(const std::string& kind) {
    for (const SourceReport::Kind& each : source_->report().kinds) {
      if (each.kind == kind) return each;
    }
    return {};
  }
  // Reports are renewed between two turns of the source; a request that follows them says that they were.
  template <typename Condition>
  bool report_says(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kLimit;
    while (!condition(source_->report())) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(2));
    }
    return true;
  }

  static constexpr std::chrono::seconds kLimit{20};
  FakeApiServer server_;
  ApiAccess access_;
  KubernetesSource::Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, ParsedFile> state_;
  size_t told_ = 0;
  std::unique_ptr<KubernetesSource> source_;
};

}  // namespace weft::control_plane::test
