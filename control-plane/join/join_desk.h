// Where nodes become members: a join token and a signing request in, a client certificate of the node out,
// and later another one for that. The certificates are of an authority of its own (`ca` in the folder), which
// signs nothing else and is trusted for nothing else. Any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/join/guess_limit.h"
#include "control-plane/join/token_store.h"

namespace weft::control_plane {

class JoinDesk {
 public:
  struct Options {
    std::string folder = kDefaultJoinFolder;  // made when it is missing
    // PEM: who signed other client certificates of nodes; empty: nobody did.
    std::string client_authority_file;
    std::function<absl::Time()> now = absl::Now;
  };
  static absl::StatusOr<std::unique_ptr<JoinDesk>> open(Options options);

  // PEM of the certificate and what leads to its root. `peer`: gRPC's name of the caller. Errors as
  // proto/weft/node/v1/join.proto has them. Those about a text that is a token are told to the log too; the
  // others are counted alone, for anybody can cause any number of them. A token is used up by an answer
  // alone.
  absl::StatusOr<std::string> join(const std::string& token, const std::string& node, const std::string& csr,
                                   const std::string& peer);
  // `node`: whom the caller's certificate names.
  absl::StatusOr<std::string> renew(const std::string& node, const std::string& csr);

  // Whether a client certificate of `node` still counts: one of the desk's does while the node is a member,
  // and only when it was made since the node joined last; others are not the desk's to judge.
  // kUnauthenticated otherwise.
  absl::Status admit(X509* certificate, const std::string& node) const;

  // A file with everybody who may have signed a client certificate; tick() keeps it current. For the TLS
  // server.
  std::string client_authorities() const;
  // What is due from time to time: forgets old tokens, looks for another client_authority_file.
  absl::Status tick();

  // Since the start: "joined", "renewed", and refusals by reason, a closed list. Those that are watched for
  // their first one are there from the start: a series that begins at 1 has not increased.
  std::map<std::string, uint64_t> counts() const;

 private:
  JoinDesk(Options options, std::unique_ptr<CertificateAuthority> authority)
      : options_(std::move(options)), store_(options_.folder), authority_(std::move(authority)) {}
  absl::StatusOr<std::string> check_and_sign(const JoinToken& token, const std::string& node,
                                             const std::string& csr, const std::string& guesser);
  absl::StatusOr<std::string> sign(const std::string& node, const std::string& csr, absl::Time now);
  absl::Status refuse(const char* reason, absl::Status status);
  void count(const char* what);

  const Options options_;
  const TokenStore store_;
  const std::unique_ptr<CertificateAuthority> authority_;
  GuessLimit guesses_;
  mutable absl::Mutex mutex_;
  std::map<std::string, uint64_t> counts_ ABSL_GUARDED_BY(mutex_){{"joined", 0}, {"replayed", 0}};
};

}  // namespace weft::control_plane
