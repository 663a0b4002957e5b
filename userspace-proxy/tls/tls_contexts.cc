// TlsContexts of tls_contexts.h.
#include "userspace-proxy/tls/tls_contexts.h"

#include <algorithm>

#include "base/log.h"

namespace weft::proxy {

void TlsContexts::replace(CredentialSetPtr credentials) {
  set_ = std::move(credentials);
  absl::flat_hash_map<SpiffeId, Entry> next;
  for (const auto& [id, wanted] : set_->by_id) {
    const auto known = by_id_.find(id);
    if (known != by_id_.end() && known->second.credentials == wanted) {
      next.emplace(id, known->second);
      continue;
    }
    auto context = TlsContext::make(wanted);
    if (!context.ok()) {
      log::error("identity_unusable", {{"identity", id.to_string()}, {"error", context.status().message()}});
      continue;
    }
    next.emplace(id, Entry{wanted, *std::move(context)});
  }
  for (const auto& [id, entry] : by_id_) {
    const auto now = next.find(id);
    if (now != next.end() && now->second.context == entry.context) continue;
    former_.push_back(entry.context);
    // Other credentials have a store of their own. A worker that is not as far yet may keep some more here:
    // it comes by too.
    entry.credentials->sessions->clear();
  }
  by_id_ = std::move(next);
  std::erase_if(former_, [](const auto& context) { return context.expired(); });
  size_t cut = 0;
  for (const auto& weak : former_) {
    const std::shared_ptr<TlsContext> context = weak.lock();
    const Credentials* trust = context == nullptr ? nullptr : trust_for(context->credentials().id);
    if (trust != nullptr) cut += context->cut_revoked(*trust);
  }
  if (cut > 0) log::warn("revoked_connections_closed", {{"count", cut}});
}

// An identity that is no more has no lists of its own; those of its trust domain are the same for all.
const Credentials* TlsContexts::trust_for(const SpiffeId& id) const {
  auto found = by_id_.find(id);
  if (found == by_id_.end())
    found = std::find_if(by_id_.begin(), by_id_.end(),
                         [&id](const auto& entry) { return entry.first.trust_domain == id.trust_domain; });
  return found == by_id_.end() ? nullptr : found->second.credentials.get();
}

std::shared_ptr<TlsContext> TlsContexts::find(const std::string& workload_uid) const {
  if (set_ == nullptr) return nullptr;
  const auto credentials = set_->by_workload.find(workload_uid);
  if (credentials == set_->by_workload.end()) return nullptr;
  const auto entry = by_id_.find(credentials->second->id);
  return entry == by_id_.end() ? nullptr : entry->second.context;
}

}  // namespace weft::proxy
