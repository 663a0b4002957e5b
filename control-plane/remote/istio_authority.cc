// See istio_authority.h.
#include "control-plane/remote/istio_authority.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <span>
#include <string_view>

#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/remote/certificate_call.h"

namespace weft::control_plane {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
// Of references that the vectors beside them hold.
using StackPtr = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * list) { sk_X509_free(list); })>;

std::string text_of(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

// istiod says the same to everybody whom it refuses; its own log says why.
std::string next_after(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return "see istiod's log; the token must be for the audience istio-ca, its ServiceAccount in "
             "CA_TRUSTED_NODE_ACCOUNTS, its pod on this node, and a pod of the identity too";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return "see that istiod runs, that --ca-address is reached and that --ca-root signed its certificate";
    case absl::StatusCode::kOutOfRange:
      return "give istiod an authority with such a key";
    case absl::StatusCode::kFailedPrecondition:
      return "see --ca-root and --ca-token";
    default:
      return "see istiod's log";
  }
}

absl::Status lead_to_roots(std::span<const X509Ptr> chain, std::span<const X509Ptr> roots, absl::Time now) {
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const StackPtr between(sk_X509_new_null());
  for (const X509Ptr& each : chain.subspan(1)) sk_X509_push(between.get(), each.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), between.get()) != 1)
    return openssl_status("check a chain");
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), absl::ToTimeT(now));
  const bool good = X509_verify_cert(context.get()) == 1;
  if (good) return check_algorithms(X509_STORE_CTX_get0_chain(context.get()));
  const char* const why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  return absl::InternalError(str_cat("its chain does not lead to the roots beside it: ", why));
}

}  // namespace

absl::Status check_answer(const std::vector<std::string>& chain, const CertificateRequest& request,
                          absl::Time now) {
  if (chain.size() < 2) return absl::InternalError("a chain without roots");
  std::vector<X509Ptr> certificates;
  for (const std::string& pem : std::span(chain).first(chain.size() - 1)) {
    ASSIGN_OR_RETURN(std::vector<X509Ptr> read, read_certificates(pem));
    for (X509Ptr& each : read) certificates.push_back(std::move(each));
  }
  ASSIGN_OR_RETURN(const std::vector<X509Ptr> roots, read_certificates(chain.back()));
  X509* const leaf = certificates.front().get();
  if (EVP_PKEY_eq(X509_get0_pubkey(leaf), request.key.get()) != 1) {
    ERR_clear_error();
    return absl::InternalError("its certificate is for another key");
  }
  SpiffeId id;
  if (read_san(leaf, &id) != SanReading::kOk) return absl::InternalError("its certificate names no workload");
  if (id != request.id)
    return absl::InternalError(
        str_cat("its certificate is for ", id.to_string(), ", asked was ", request.id.to_string()));
  if (not_after(leaf) <= now)
    return absl::InternalError(
        str_cat("its certificate expired at ", text_of(not_after(leaf)), "; are both clocks right?"));
  if (not_before(leaf) > now)
    return absl::InternalError(
        str_cat("its certificate is valid from ", text_of(not_before(leaf)), " on; are both clocks right?"));
  return lead_to_roots(certificates, roots, now);
}

absl::StatusOr<std::vector<std::string>> IstioAuthority::ask(const std::string& pem,
                                                             const CertificateRequest& request,
                                                             absl::Duration lifetime, absl::Time now) {
  ASSIGN_OR_RETURN(std::vector<std::string> chain,
                   call_for_certificate(channel_, who_, pem, request.id.to_string(), lifetime));
  RETURN_IF_ERROR(annotate(who_, check_answer(chain, request, now)));
  return chain;
}

absl::StatusOr<std::vector<std::string>> IstioAuthority::sign(const std::string& pem,
                                                              const CertificateRequest& request,
                                                              absl::Duration lifetime, absl::Time now) {
  absl::StatusOr<std::vector<std::string>> chain = ask(pem, request, lifetime, now);
  const std::string problem =
      chain.ok() ? "" : str_cat(chain.status().message(), " (next: ", next_after(chain.status()), ")");
  {
    const absl::MutexLock lock(&mutex_);
    problem_ = problem;
  }
  if (chain.ok()) return chain;
  return absl::Status(chain.status().code(), problem);
}

std::vector<std::string> IstioAuthority::problems() const {
  const absl::MutexLock lock(&mutex_);
  return problem_.empty() ? std::vector<std::string>() : std::vector<std::string>{problem_};
}

}  // namespace weft::control_plane
