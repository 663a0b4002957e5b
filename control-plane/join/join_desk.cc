// See join_desk.h.
#include "control-plane/join/join_desk.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {
namespace {

// Of the desk's own authority: the folder's other names are TokenStore's.
constexpr char kAuthority[] = "/ca";
constexpr char kClients[] = "/clients.crt";
constexpr char kAnother[] = "; next: `weft join-token create --node NAME` on the machine of weft-control";

bool signed_by(X509* certificate, X509* issuer) {
  const bool named = X509_check_issued(issuer, certificate) == X509_V_OK;
  const bool good = named && X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JoinDesk>> JoinDesk::open(Options options) {
  RETURN_IF_ERROR(annotate("--join-dir", TokenStore(options.folder).make_folders()));
  ASSIGN_OR_RETURN(std::unique_ptr<CertificateAuthority> authority,
                   CertificateAuthority::open(
                       {.folder = options.folder + kAuthority, .trust_domain = "weft nodes"}, options.now()));
  // Whose certificates are the desk's must be plain from the certificate itself.
  if (!authority->makes_roots())
    return absl::FailedPreconditionError(
        str_cat("--join-dir: ", options.folder, kAuthority,
                " is an authority that weft-control did not make; next: remove that folder"));
  std::unique_ptr<JoinDesk> out(new JoinDesk(std::move(options), std::move(authority)));
  RETURN_IF_ERROR(out->tick());
  return out;
}

std::string JoinDesk::client_authorities() const { return options_.folder + kClients; }

absl::Status JoinDesk::tick() {
  store_.forget(options_.now());
  std::string text = authority_->bundle();
  if (!options_.client_authority_file.empty()) {
    ASSIGN_OR_RETURN(const std::string others,
                     read_text_file(options_.client_authority_file, Folder::kMounted));
    RETURN_IF_ERROR(annotate(options_.client_authority_file, read_certificates(others).status()));
    str_append(&text, others);
  }
  const absl::StatusOr<std::string> now = read_text_file(client_authorities());
  return now.ok() && *now == text ? absl::OkStatus() : write_text_file(client_authorities(), text);
}

void JoinDesk::count(const char* what) {
  const absl::MutexLock lock(&mutex_);
  ++counts_[what];
}

std::map<std::string, uint64_t> JoinDesk::counts() const {
  const absl::MutexLock lock(&mutex_);
  return counts_;
}

absl::Status JoinDesk::refuse(const char* reason, absl::Status status) {
  count(reason);
  return status;
}

absl::StatusOr<std::string> JoinDesk::sign(const std::string& node, const std::string& csr, absl::Time now) {
  const absl::StatusOr<KeyPtr> key = parse_nameless_request(csr);
  if (!key.ok()) return refuse("malformed", key.status());
  absl::StatusOr<std::string> chain = authority_->sign_node(key->get(), node, now);
  if (!chain.ok()) return refuse("failed", chain.status());
  return chain;
}

absl::StatusOr<std::string> JoinDesk::check_and_sign(const JoinToken& token, const std::string& node,
                                                     const std::string& csr, const std::string& guesser) {
  using Verdict = TokenStore::Verdict;
  // One for the certificate and for when the node joined: admit() compares them.
  const absl::Time now = options_.now();
  std::string owner;
  switch (store_.look(token, node, now, &owner)) {
    case Verdict::kGood:
      break;
    case Verdict::kUnknown:
      guesses_.failed(guesser, now);
      return refuse("unknown", absl::UnauthenticatedError(str_cat("there is no such join token", kAnother)));
    case Verdict::kUsed:
      return refuse("replayed", absl::AlreadyExistsError(str_cat(
                                    "the join token was used already, and counts once (an answer that "
                                    "was lost on its way counts too); if it was not this machine that "
                                    "used it: `weft join-token remove --node NAME`",
                                    kAnother)));
    case Verdict::kExpired:
      return refuse("expired",
                    absl::FailedPreconditionError(str_cat("the join token has expired", kAnother)));
    case Verdict::kOtherNode:
      return refuse("other_node",
                    absl::PermissionDeniedError(str_cat("the join token is for node ", owner, ", not for ",
                                                        node, "; next: weft-agent --node-name ", owner)));
  }
  // Used up last: what fails before may be tried again with the same token.
  ASSIGN_OR_RETURN(std::string chain, sign(node, csr, now));
  const absl::Status used = store_.use(token, node, now);
  if (absl::IsAlreadyExists(used)) return refuse("replayed", used);
  if (!used.ok()) return refuse("failed", used);
  return chain;
}

absl::StatusOr<std::string> JoinDesk::join(const std::string& token, const std::string& node,
                                           const std::string& csr, const std::string& peer) {
  const std::string guesser = guesser_of(peer);
  const absl::Duration wait = guesses_.wait(guesser, options_.now());
  if (wait > absl::ZeroDuration())
    return refuse("limited",
                  absl::ResourceExhaustedError(
                      str_cat("too many join tokens that were none came from this address; next: again in ",
                              absl::ToInt64Seconds(wait) + 1, " s")));
  const absl::StatusOr<JoinToken> parsed = parse_join_token(token);
  if (!parsed.ok()) {
    guesses_.failed(guesser, options_.now());
    return refuse("malformed", parsed.status());
  }
  if (!is_node_name(node))
    return refuse("malformed",
                  absl::InvalidArgumentError("that is no name of a node; next: --node-name NAME"));
  absl::StatusOr<std::string> chain = check_and_sign(*parsed, node, csr, guesser);
  if (!chain.ok()) {
    log::warn(
        "join_refused",
        {{"node", node}, {"address", guesser}, {"token", parsed->id}, {"reason", chain.status().message()}});
    return chain;
  }
  count("joined");
  log::info("node_joined", {{"node", node}, {"address", guesser}, {"token", parsed->id}});
  return chain;
}

absl::StatusOr<std::string> JoinDesk::renew(const std::string& node, const std::string& csr) {
  const std::optional<absl::Time> joined = store_.joined_at(node);
  if (!joined)
    return refuse("removed", absl::PermissionDeniedError(
                                 str_cat("node ", node, " has not joined, or was removed", kAnother)));
  // Not before it joined: the clock of the replica that it joined at may be ahead of this one's.
  ASSIGN_OR_RETURN(std::string chain, sign(node, csr, std::max(options_.now(), *joined)));
  count("renewed");
  return chain;
}

absl::Status JoinDesk::admit(X509* certificate, const std::string& node) const {
  ASSIGN_OR_RETURN(const std::vector<X509Ptr> roots, read_certificates(authority_->bundle()));
  for (const X509Ptr& root : roots) {
    if (!signed_by(certificate, root.get())) continue;
    const std::optional<absl::Time> joined = store_.joined_at(node);
    if (!joined) return absl::UnauthenticatedError(str_cat("node ", node, " was removed", kAnother));
    // What was removed stays so, though a node of that name has joined since.
    if (not_before(certificate) + CertificateAuthority::kBackdated >= *joined) return absl::OkStatus();
    return absl::UnauthenticatedError(
        str_cat("node ", node, " has joined again since this certificate was made", kAnother));
  }
  return absl::OkStatus();
}

}  // namespace weft::control_plane
