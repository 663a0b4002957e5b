// RevocationService of revocation_service.h.
#include "agent/feed/revocation_service.h"

#include "base/log.h"
#include "base/x509.h"

namespace weft::agent {

grpc::Status RevocationService::Get(grpc::ServerContext*, const proxy::v1::RevocationsRequest*,
                                    proxy::v1::RevocationsResponse* response) {
  absl::StatusOr<std::string> lists = lists_ ? lists_() : std::string();
  if (!lists.ok()) {
    log::warn("revocations_unreadable", {{"error", lists.status().message()}, {"next", "correct crl.pem"}});
    return {grpc::StatusCode::FAILED_PRECONDITION, std::string(lists.status().message())};
  }
  note_outdated(*lists);
  response->set_lists(*std::move(lists));
  for (const auto& renewal : certificates_.renewals()) {
    proxy::v1::Renewal& out = *response->add_renewals();
    out.set_identity(renewal.identity);
    out.set_not_before_unix(absl::ToUnixSeconds(renewal.begin));
  }
  return grpc::Status::OK;
}

// Once, when there are others than before.
void RevocationService::note_outdated(const std::string& lists) {
  const auto parsed = read_crls(lists);
  if (!parsed.ok()) return;
  uint32_t count = 0;
  for (const X509CrlPtr& list : *parsed) {
    const ASN1_TIME* next = X509_CRL_get0_nextUpdate(list.get());
    count += next != nullptr && X509_cmp_current_time(next) < 0 ? 1 : 0;
  }
  if (outdated_.exchange(count) == count || count == 0) return;
  log::warn("revocations_outdated",
            {{"lists", count},
             {"of", parsed->size()},
             {"next", "what they revoke stays revoked, nobody else is; replace crl.pem"}});
}

}  // namespace weft::agent
