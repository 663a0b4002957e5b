// Which identities this proxy needs certificates for: those of the workloads that it serves, as the newest
// snapshot knows them, and of all gateways where it serves those: they prove them where they dial, and some
// listeners show them. Told by the configuration client and the handover client on their threads; tells the
// identity client.
#pragma once

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "userspace-proxy/config/identity_client.h"
#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

class WantedIdentities {
 public:
  // Borrowed; outlives this.
  explicit WantedIdentities(IdentityClient& client) : client_(client) {}

  void configured(SnapshotPtr snapshot);
  void served(std::set<std::string> workload_uids);

 private:
  void tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  IdentityClient& client_;
  absl::Mutex mutex_;
  SnapshotPtr snapshot_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> served_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
