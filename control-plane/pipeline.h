// What stands between a source of objects and a subscriber: store → compile → difference → change with the
// next generation. Workloads are compiled change by change (workload_stage.h); the rest as a whole, of which
// most is remembered, and only when something is another that it depends on. Any thread, one change at a
// time.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/compile/workload_stage.h"
#include "control-plane/control_plane.h"
#include "control-plane/file_secrets.h"
#include "control-plane/resource/store.h"
#include "control-plane/source/dns_resolver.h"

namespace weft::control_plane {

// Longer the first change waits for no look-up: a name server that is silent must not keep everything else
// away.
inline constexpr std::chrono::seconds kFirstLookUps{30};

class Pipeline {
 public:
  // `certificate_folders`: see CertificateFiles; none: certificates in files are not read. `own_namespaces`:
  // see TunnelNodes.
  Pipeline(std::string node_name, FetchKeys fetch_keys, ControlPlane::Subscriber subscriber,
           std::vector<std::string> certificate_folders = {}, std::set<std::string> own_namespaces = {});
  // Ends the resolvers' threads; what feeds the pipeline ends before.
  ~Pipeline();

  // Calls the subscriber, if anything follows from it, before it returns; the first time in any case, and
  // then not before one look-up of each host name and of each issuer's keys is over, for at most
  // kFirstLookUps: what an earlier process had told is not taken back because this one has just begun. One
  // thread at a time.
  void update(Store::Changes changes);
  // Nothing is looked up any more, and update() waits no longer. Any thread but the subscriber's.
  void stop();

 private:
  // The objects are others. False: only of kinds of which pods are made.
  bool take(const std::vector<ObjectChange>& changes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Compiles what is due, and tells it. The caller's thread, a resolver's, or that of the files.
  void recompile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds to what is told what stands in own_routes_due_. False: that is not all.
  bool recompile_own_routes(Change& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds the rest to what is told.
  void recompile_rest(Change& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void step(const std::vector<ObjectChange>& changes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What stands in the store and in both parts of the compiler; as before when none of it is another.
  std::vector<Finding> findings_now() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void read_files() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Without the lock: who is told of what was found needs it.
  void wait_for_look_ups() const;
  void log_new(const std::vector<Finding>& findings) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string node_name_;
  const ControlPlane::Subscriber subscriber_;
  absl::Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
  WorkloadStage stage_ ABSL_GUARDED_BY(mutex_);
  Compiled rest_ ABSL_GUARDED_BY(mutex_);
  bool rest_due_ ABSL_GUARDED_BY(mutex_) = true;
  // VirtualServices of which nothing but their own routes has changed, and the revision that rest_ has.
  std::map<ObjectKey, uint64_t> own_routes_due_ ABSL_GUARDED_BY(mutex_);
  // Of the stage, not told yet.
  Change pending_ ABSL_GUARDED_BY(mutex_);
  // As told last.
  std::vector<LocalPod> local_pods_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> mesh_namespaces_ ABSL_GUARDED_BY(mutex_);
  std::vector<Finding> findings_ ABSL_GUARDED_BY(mutex_);
  // What findings_ were made of: of the store, of the rest, of the stage.
  std::tuple<uint64_t, uint64_t, uint64_t> findings_of_ ABSL_GUARDED_BY(mutex_) = {};
  uint64_t rest_version_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<DnsResolver> resolver_;
  // Of keys, by their sources; null: none are fetched.
  std::unique_ptr<DnsResolver> key_resolver_;
  std::unique_ptr<FileSecrets> file_secrets_;  // null: none are read
};

// Of the store and of the compilation, sorted by place.
std::vector<Finding> all_findings(const Store& store, const Compiled& compiled);

}  // namespace weft::control_plane
