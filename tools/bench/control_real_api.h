// An API server that is one, with etcd below it: objects are written as their owners write them, many at
// once, and the clock of a change starts when its write has returned. What the server does itself (addresses,
// controllers, kubelets) nobody does here. Used by weft-bench-control.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "control-plane/kubernetes/api_client.h"
#include "tools/bench/control_api.h"

namespace weft::bench {

class RealApi final : public ObjectApi {
 public:
  // `kubeconfig`: a file; who it is may do everything. Errors: it cannot be read.
  static absl::StatusOr<std::unique_ptr<RealApi>> open(const std::string& kubeconfig);
  ~RealApi() override;

  void put(ApiObject object, Begun begun) override;
  void remove(const ApiObject& object, Begun begun) override;
  // Says on standard error every few seconds how much is left.
  absl::Status flush() override;
  std::string kubeconfig() const override { return kubeconfig_; }
  // Bound to a pod of the node, which it makes.
  absl::StatusOr<std::string> token(uint32_t node) override;

  // How long writes took, since the last call.
  std::vector<double> take_milliseconds();

 private:
  struct Write {
    ApiObject object;
    bool remove = false;
    Begun begun;
  };
  // Objects of a namespace go to one of them, in their order.
  struct Writer {
    std::unique_ptr<control_plane::ApiClient> client;
    std::set<std::string> known;
    std::deque<Write> queue;
    std::thread thread;
  };

  explicit RealApi(control_plane::ApiAccess access) : access_(std::move(access)) {}
  absl::Status start();
  void post(Write write);
  void write_all(Writer& writer);
  absl::Status perform(Writer& writer, const Write& write);
  absl::Status make(control_plane::ApiClient& client, const ApiObject& object, const Begun& begun);
  absl::Status alter(Writer& writer, const Write& write);
  absl::StatusOr<std::string> ask(control_plane::ApiClient& client, const std::string& method,
                                  const std::string& path, const std::string& body,
                                  const std::string& type = "application/json");

  const control_plane::ApiAccess access_;
  std::string kubeconfig_;
  std::vector<std::unique_ptr<Writer>> writers_;
  std::unique_ptr<control_plane::ApiClient> own_;
  bool has_account_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t left_ = 0;
  bool stopping_ = false;
  absl::Status error_;
  std::vector<double> milliseconds_;
};

}  // namespace weft::bench
