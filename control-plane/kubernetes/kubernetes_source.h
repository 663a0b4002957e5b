// An API server as a stream of changes for the store: one reflector for each kind and for each Secret that a
// gateway names, one connection, one thread. It tells the first change when every kind was seen once, and
// later ones as they come, gathered for some milliseconds. While the server is away what is known stays
// known.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "control-plane/kubernetes/api_client.h"
#include "control-plane/kubernetes/mesh_config_watches.h"
#include "control-plane/kubernetes/own_daemonset.h"
#include "control-plane/kubernetes/reflector.h"
#include "control-plane/kubernetes/secret_watches.h"
#include "control-plane/kubernetes/source_report.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {

class KubernetesSource {
 public:
  using Subscriber = std::function<void(Store::Changes)>;
  struct Options {
    ReflectorTiming timing;
    ApiClient::Options client;
    // Changes are gathered for so long, and for as long as the subscriber took for the last ones: it gets at
    // most half of the time.
    std::chrono::milliseconds gather{10};
    // And for so long when a VirtualService names other subsets than before. Until their DestinationRule is
    // here its requests would be answered 503, and kubectl sends the objects of a file one after the other.
    std::chrono::milliseconds gather_subsets{100};
    // 0: from the system.
    uint32_t seed = 0;
    // NAMESPACE and NAME of the DaemonSet that this process runs for; empty: none.
    std::string own_namespace = {};
    std::string own_daemonset = {};
    // Nothing is read but that DaemonSet and its namespace; the subscriber hears of that one.
    bool own_only = false;
    // The longest pause before it is asked for again (about). One object for each node, and its deletion is
    // told once: who may ask for it is gone soon after it.
    std::chrono::milliseconds own_longest_retry{5'000};
  };

  // Begins at once on its own thread, which also calls `subscriber`. Errors: libcurl cannot be used.
  static absl::StatusOr<std::unique_ptr<KubernetesSource>> start(ApiAccess access, Options options,
                                                                 Subscriber subscriber);
  ~KubernetesSource();

  // Until the subscriber has been given the first change. False: `limit` is over, or `give_up` (may be
  // empty; asked ten times a second) said so.
  bool wait_for_first(std::chrono::milliseconds limit, const std::function<bool()>& give_up);

  SourceReport report() const;
  // As those of OwnInstallation.
  bool uninstalled() const;
  void ask_anew();
  bool answered() const;

 private:
  KubernetesSource(ApiAccess access, Options options, Subscriber subscriber);
  void make_reflectors();
  void run();
  // Gives the subscriber what changed, when it is time; when it will be.
  Reflector::Clock::time_point publish(Reflector::Clock::time_point now);
  void note_report();
  // When it has something to do next.
  Reflector::Clock::time_point look_after_own(Reflector::Clock::time_point now);
  void log_trouble(const std::vector<std::string>& problems);

  const std::string server_;
  const Options options_;
  const ReflectorTiming own_timing_;
  const Subscriber subscriber_;
  std::unique_ptr<ApiClient> client_;
  std::minstd_rand random_;
  std::unique_ptr<OwnDaemonSet> own_;  // null: none
  std::vector<std::unique_ptr<Reflector>> reflectors_;
  std::unique_ptr<SecretWatches> secrets_;
  std::unique_ptr<MeshConfigWatches> configs_;

  // Source thread.
  bool first_told_ = false;
  Store::Changes pending_;  // read, and not told yet
  bool gathering_ = false;
  Reflector::Clock::time_point gathering_since_;
  Reflector::Clock::time_point not_before_;
  bool troubled_ = false;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  bool uninstalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
  bool ask_anew_ ABSL_GUARDED_BY(mutex_) = false;
  SourceReport report_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace weft::control_plane
