// WantedIdentities of wanted_identities.h.
#include "userspace-proxy/wanted_identities.h"

#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/tls/dial_identity.h"

namespace weft::proxy {

void WantedIdentities::configured(SnapshotPtr snapshot) {
  const absl::MutexLock lock(&mutex_);
  snapshot_ = std::move(snapshot);
  tell();
}

void WantedIdentities::served(std::set<std::string> workload_uids) {
  const absl::MutexLock lock(&mutex_);
  served_ = std::move(workload_uids);
  tell();
}

void WantedIdentities::tell() {
  if (snapshot_ == nullptr) return;
  std::map<std::string, SpiffeId> wanted;
  for (const std::string& uid : served_) {
    const uint32_t source = snapshot_->find_source(uid);
    if (source != kNone && snapshot_->sources[source].spec != nullptr)
      wanted.emplace(uid, snapshot_->sources[source].spec->identity);
  }
  if (served_.contains(std::string(kGatewayUid))) {
    for (const GatewayServer& server : snapshot_->gateway_servers) {
      if (server.tls == nullptr || !server.tls->identity) continue;
      wanted.emplace(gateway_credentials(*server.tls->identity), *server.tls->identity);
    }
    for (const SpiffeId& id : snapshot_->gateway_identities) wanted.emplace(gateway_credentials(id), id);
  }
  client_.want(std::move(wanted));
}

}  // namespace weft::proxy
