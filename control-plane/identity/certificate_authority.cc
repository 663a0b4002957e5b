// CertificateAuthority of certificate_authority.h.
#include "control-plane/identity/certificate_authority.h"

#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {
namespace {

// Clocks of nodes differ; a certificate is valid a little before it was made.
constexpr absl::Duration kSkew = absl::Minutes(1);
// Roots of an operator's bundle that are worth telling everybody.
constexpr size_t kMaxRoots = 32;

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
using UntrustedPtr =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * list) { sk_X509_free(list); })>;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool self_signed(X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

absl::Status check_issuer(const std::string& path, X509* certificate) {
  if (X509_check_ca(certificate) != 1)
    return absl::FailedPreconditionError(
        str_cat(path, " is no certificate of an authority; next: issue it with basicConstraints CA:TRUE"));
  if ((X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0)
    return absl::FailedPreconditionError(
        str_cat(path, " may not sign certificates; next: issue it with keyUsage keyCertSign"));
  return absl::OkStatus();
}

absl::Status check_time(const std::string& path, X509* certificate, absl::Time now) {
  if (not_before(certificate) > now)
    return absl::FailedPreconditionError(str_cat(path, " is not valid yet; next: check the clock"));
  if (not_after(certificate) <= now)
    return absl::FailedPreconditionError(str_cat(path, " has expired; next: replace it and its key"));
  return absl::OkStatus();
}

absl::Status check_chain(const std::string& path, X509* leaf, const std::vector<X509Ptr>& between,
                         const std::vector<X509Ptr>& roots, absl::Time now) {
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const UntrustedPtr untrusted(sk_X509_new_null());
  for (const X509Ptr& each : between) sk_X509_push(untrusted.get(), each.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf, untrusted.get());
  X509_STORE_CTX_set_time(context.get(), 0, absl::ToTimeT(now));
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  const char* reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  return absl::FailedPreconditionError(str_cat(path, " does not chain to roots.crt (", reason,
                                               "); next: put the certificates between them behind it"));
}

void append(const std::vector<X509Ptr>& certificates, std::string* out) {
  for (const X509Ptr& each : certificates) *out += to_pem(each.get());
}

}  // namespace

std::string CertificateAuthority::path(const char* name) const { return str_cat(options_.folder, "/", name); }

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::open(Options options,
                                                                                 absl::Time now) {
  std::unique_ptr<CertificateAuthority> out(new CertificateAuthority(std::move(options)));
  const std::string& folder = out->options_.folder;
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return errno_status(folder, errno);
  RETURN_IF_ERROR(annotate("certificate authority", out->load(now)));
  return out;
}

absl::Status CertificateAuthority::load(absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(finish_replacing());
  if (!exists(path("ca.crt")) && !exists(path("ca.key"))) RETURN_IF_ERROR(make_first(now));
  std::vector<X509Ptr> chain;
  ASSIGN_OR_RETURN(current_, read_issuer("ca.crt", "ca.key", &chain));
  RETURN_IF_ERROR(check_time(path("ca.crt"), current_.certificate.get(), now));
  for (X509Ptr& each : chain) {
    if (!self_signed(each.get())) intermediates_.push_back(std::move(each));
  }
  if (!self_signed(current_.certificate.get())) return load_operators_roots(now);
  if (!exists(path("next.crt"))) return absl::OkStatus();
  std::vector<X509Ptr> nothing;
  ASSIGN_OR_RETURN(next_, read_issuer("next.crt", "next.key", &nothing));
  settle(now);
  return absl::OkStatus();
}

// The key first: a process that dies in between leaves a certificate without a key, which says what is
// missing.
absl::Status CertificateAuthority::make_root(const char* certificate, const char* key, absl::Time now) {
  ASSIGN_OR_RETURN(const KeyPtr made, make_key());
  ASSIGN_OR_RETURN(const X509Ptr root, issue_root(options_.trust_domain, made.get(),
                                                  {now - kSkew, now + options_.root_lifetime}));
  RETURN_IF_ERROR(write_key_file(path(key), made.get()));
  return write_text_file(path(certificate), to_pem(root.get()));
}

absl::Status CertificateAuthority::make_first(absl::Time now) {
  RETURN_IF_ERROR(make_root("ca.crt", "ca.key", now));
  log::info("root_made", {{"folder", options_.folder},
                          {"trust_domain", options_.trust_domain},
                          {"next", "none; put an intermediate there to use a root of yours"}});
  return absl::OkStatus();
}

absl::StatusOr<Issuer> CertificateAuthority::read_issuer(const char* certificate, const char* key,
                                                         std::vector<X509Ptr>* chain) {
  const std::string file = path(certificate);
  ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
  auto certificates = read_certificates(text);
  if (!certificates.ok()) return annotate(file, certificates.status());
  Issuer out;
  ASSIGN_OR_RETURN(out.key, read_key_file(path(key)));
  out.certificate = std::move(certificates->front());
  RETURN_IF_ERROR(check_issuer(file, out.certificate.get()));
  if (X509_check_private_key(out.certificate.get(), out.key.get()) != 1) {
    ERR_clear_error();
    return absl::FailedPreconditionError(
        str_cat(path(key), " is not the key of ", file, "; next: put its key there"));
  }
  certificates->erase(certificates->begin());
  *chain = std::move(*certificates);
  return out;
}

absl::Status CertificateAuthority::load_operators_roots(absl::Time now) {
  const std::string file = path("roots.crt");
  const absl::StatusOr<std::string> text = read_text_file(file);
  if (!text.ok())
    return absl::FailedPreconditionError(str_cat(text.status().message(), "; next: put the root of ",
                                                 path("ca.crt"), " there, and others to trust"));
  auto roots = read_certificates(*text);
  if (!roots.ok()) return annotate(file, roots.status());
  if (roots->size() > kMaxRoots)
    return absl::FailedPreconditionError(str_cat(file, " has more than 32 roots"));
  operators_roots_ = std::move(*roots);
  return check_chain(path("ca.crt"), current_.certificate.get(), intermediates_, operators_roots_, now);
}

bool CertificateAuthority::next_signs(absl::Time now) const {
  return next_.certificate != nullptr &&
         now >= not_before(next_.certificate.get()) + kSkew + options_.leaf_lifetime;
}

// The second overlap is over: the old root is forgotten.
void CertificateAuthority::settle(absl::Time now) {
  if (next_.certificate == nullptr ||
      now < not_before(next_.certificate.get()) + kSkew + 2 * options_.leaf_lifetime)
    return;
  if (::rename(path("next.key").c_str(), path("ca.key").c_str()) != 0 ||
      ::rename(path("next.crt").c_str(), path("ca.crt").c_str()) != 0) {
    log::warn("root_not_replaced",
              {{"error", std::strerror(errno)}, {"next", "check the folder of the authority"}});
    return;
  }
  current_ = std::move(next_);
  next_ = {};
}

// A process that died between the two renames of settle(): the key is in its place, the certificate is not.
absl::Status CertificateAuthority::finish_replacing() {
  if (!exists(path("next.crt")) || exists(path("next.key"))) return absl::OkStatus();
  return ::rename(path("next.crt").c_str(), path("ca.crt").c_str()) == 0
             ? absl::OkStatus()
             : errno_status(path("ca.crt"), errno);
}

absl::StatusOr<std::vector<std::string>> CertificateAuthority::sign(const CertificateRequest& request,
                                                                    absl::Duration lifetime, absl::Time now) {
  if (request.id.trust_domain != options_.trust_domain)
    return absl::PermissionDeniedError(
        str_cat(request.id.to_string(), " is not of trust domain ", options_.trust_domain));
  if (lifetime <= absl::ZeroDuration()) lifetime = options_.leaf_lifetime;
  lifetime = std::min(lifetime, options_.leaf_lifetime);
  const absl::MutexLock lock(&mutex_);
  settle(now);
  const Issuer& issuer = next_signs(now) ? next_ : current_;
  ASSIGN_OR_RETURN(const X509Ptr leaf,
                   issue_leaf(issuer, request.key.get(), request.id, {now - kSkew, now + lifetime}));
  std::vector<std::string> out{to_pem(leaf.get())};
  if (!operators_roots_.empty()) {
    out.push_back(to_pem(current_.certificate.get()));
    for (const X509Ptr& each : intermediates_) out.push_back(to_pem(each.get()));
  }
  out.push_back(bundle_now());
  return out;
}

absl::Status CertificateAuthority::rotate(absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  settle(now);
  if (!operators_roots_.empty())
    return absl::FailedPreconditionError(
        "the root is yours; next: add the new root to roots.crt, wait a day, then replace ca.crt and ca.key");
  if (next_.certificate != nullptr)
    return absl::FailedPreconditionError("the root is being replaced already; next: weft cert list");
  // Of a process that died before it wrote the certificate.
  ::unlink(path("next.key").c_str());
  RETURN_IF_ERROR(make_root("next.crt", "next.key", now));
  std::vector<X509Ptr> nothing;
  ASSIGN_OR_RETURN(next_, read_issuer("next.crt", "next.key", &nothing));
  return absl::OkStatus();
}

std::string CertificateAuthority::bundle_now() const {
  std::string out;
  append(operators_roots_, &out);
  if (operators_roots_.empty()) out += to_pem(current_.certificate.get());
  if (next_.certificate != nullptr) out += to_pem(next_.certificate.get());
  return out;
}

std::string CertificateAuthority::bundle(absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  settle(now);
  return bundle_now();
}

absl::StatusOr<std::string> CertificateAuthority::revocations() const {
  absl::StatusOr<std::string> text = read_text_file(path("crl.pem"));
  if (absl::IsNotFound(text.status())) return std::string();
  if (!text.ok()) return text;
  const auto lists = read_crls(*text);
  if (!lists.ok()) return annotate(path("crl.pem"), lists.status());
  return text;
}

std::vector<CertificateAuthority::Root> CertificateAuthority::roots(absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  settle(now);
  std::vector<Root> out;
  const auto describe = [&out](X509* root, bool signs) {
    out.push_back({serial_number(root), not_before(root), not_after(root), signs});
  };
  for (const X509Ptr& root : operators_roots_) describe(root.get(), false);
  if (operators_roots_.empty()) describe(current_.certificate.get(), !next_signs(now));
  if (next_.certificate != nullptr) describe(next_.certificate.get(), next_signs(now));
  return out;
}

}  // namespace weft::control_plane
