// What stands between a source of objects and a subscriber: store → compile → difference → change with the
// next generation. Any thread, one change at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/control_plane.h"
#include "control-plane/file_secrets.h"
#include "control-plane/resource/store.h"
#include "control-plane/source/dns_resolver.h"

namespace weft::control_plane {

class Pipeline {
 public:
  // `certificate_folders`: see CertificateFiles; none: certificates in files are not read.
  Pipeline(std::string node_name, FetchKeys fetch_keys, ControlPlane::Subscriber subscriber,
           std::vector<std::string> certificate_folders = {});
  // Ends the resolvers' threads; what feeds the pipeline ends before.
  ~Pipeline();

  // Calls the subscriber, if anything follows from it, before it returns; the first time in any case.
  void update(Store::Changes changes);

 private:
  // The caller's thread, a resolver's, or that of the files.
  void recompile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void read_files() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void log_new(const std::vector<Finding>& findings) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string node_name_;
  const ControlPlane::Subscriber subscriber_;
  absl::Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
  Compiled compiled_ ABSL_GUARDED_BY(mutex_);
  std::vector<Finding> findings_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<DnsResolver> resolver_;
  // Of keys, by their URLs; null: none are fetched.
  std::unique_ptr<DnsResolver> key_resolver_;
  std::unique_ptr<FileSecrets> file_secrets_;  // null: none are read
};

// Of the store and of the compilation, sorted by place.
std::vector<Finding> all_findings(const Store& store, const Compiled& compiled);

}  // namespace weft::control_plane
