// See node_certificate.h. At half of its life, and when the process starts, the certificate is renewed by
// itself; once it has expired or weft-control refuses it only another join token helps, which is looked for
// in the same file.
#include "control-plane/remote/node_certificate.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/renewal.h"
#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/identity/key_file.h"
#include "control-plane/identity/node_name.h"
#include "proto/weft/node/v1/join.grpc.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::node::v1;

constexpr std::chrono::milliseconds kDeadline{4000};
constexpr absl::Duration kAskAgain = absl::Milliseconds(500);

absl::StatusOr<std::string> request_for(EVP_PKEY* key) {
  const X509RequestPtr request(X509_REQ_new());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  const bool made = X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                    X509_REQ_set_pubkey(request.get(), key) == 1 &&
                    X509_REQ_sign(request.get(), key, EVP_sha256()) > 0 &&
                    PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1;
  if (!made) return openssl_status("make a signing request");
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(length));
}

// Both in one file, so that nobody ever reads one without the other.
absl::Status write_pair(const std::string& path, const std::string& chain, EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (BIO_write(bio.get(), chain.data(), static_cast<int>(chain.size())) <= 0 ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_status(str_cat(path, ": write the key"));
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return write_private_file(path, std::string_view(text, static_cast<size_t>(length)));
}

// The certificate of the pair alone: what stands between begin and end of a private key is not looked at.
absl::StatusOr<X509Ptr> read_pair(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, read_private_file(path));
  const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  X509Ptr leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  const auto key = read_private_key(text);
  OPENSSL_cleanse(text.data(), text.size());
  const bool pair = leaf != nullptr && key.ok() && X509_check_private_key(leaf.get(), key->get()) == 1;
  ERR_clear_error();
  if (!pair)
    return absl::FailedPreconditionError(
        str_cat(path, " holds no certificate with its key; next: remove it"));
  return leaf;
}

absl::Status of_answer(const std::string& target, const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string why = status.error_message();
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    why = "it lets no machine join; next: weft-control --join-dir DIR";
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      str_cat("weft-control ", target, ": ", why));
}

bool worth_another_try(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

class KeptCertificate final : public NodeCertificate {
 public:
  explicit KeptCertificate(Options options)
      : options_(std::move(options)), file_(options_.folder + "/node.pem"), joining_(options_.access) {}
  ~KeptCertificate() override {
    {
      const absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }

  absl::Status begin() {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(options_.folder).parent_path(), error);
    if (::mkdir(options_.folder.c_str(), 0700) != 0 && errno != EEXIST)
      return errno_status(options_.folder, errno);
    RETURN_IF_ERROR(load() ? check() : join_first());
    thread_ = std::thread([this] { run(); });
    return absl::OkStatus();
  }

  std::string file() const override { return file_; }

  std::vector<std::string> problems() const override {
    const absl::MutexLock lock(&mutex_);
    return problem_.empty() ? std::vector<std::string>() : std::vector<std::string>{problem_};
  }

  absl::Status renew() override {
    bool refused = false;
    const absl::Status renewed = renew_by_certificate(&refused);
    return refused ? also(renewed, join()) : renewed;
  }

 private:
  // `refused`: weft-control takes the certificate for none of a member's. Another answer, and what goes wrong
  // here, says nothing about that.
  absl::Status renew_by_certificate(bool* refused) {
    const absl::MutexLock turn(&turn_);
    ControlAccess access = options_.access;
    access.certificate_file = access.key_file = file_;
    ControlChannel channel(access);
    return exchange(channel, [refused](auto& stub, auto* context, const std::string& csr, auto* answer) {
      pb::RenewRequest question;
      question.set_csr(csr);
      const grpc::Status status = stub.Renew(context, question, answer);
      *refused = status.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
                 status.error_code() == grpc::StatusCode::PERMISSION_DENIED;
      return status;
    });
  }

  // Of a certificate that was refused, and of the token that was to take its place.
  static absl::Status also(const absl::Status& refusal, const absl::Status& joined) {
    if (joined.ok()) return joined;
    return absl::Status(joined.code(),
                        str_cat(refusal.message(), "; nor by the join token: ", joined.message()));
  }

  // A node that was removed while it was off has a certificate that is valid and does not count; with another
  // token it joins anew. Whatever else keeps it from being renewed now is no reason not to start by it.
  absl::Status check() {
    bool refused = false;
    const absl::Status renewed = renew_by_certificate(&refused);
    return refused ? also(renewed, join_first()) : absl::OkStatus();
  }

  // Whether the folder has one that is valid and this node's.
  bool load() {
    const auto leaf = read_pair(file_);
    if (absl::IsNotFound(leaf.status())) return false;
    if (!leaf.ok()) {
      log::warn("node_certificate_not_read", {{"error", leaf.status().message()}});
      return false;
    }
    const std::string node = node_of_certificate(leaf->get());
    if (node != options_.node_name || not_after(leaf->get()) <= options_.now()) {
      log::warn(
          "node_certificate_not_used",
          {{"node", node},
           {"until", absl::FormatTime(absl::RFC3339_sec, not_after(leaf->get()), absl::UTCTimeZone())}});
      return false;
    }
    note(not_before(leaf->get()), not_after(leaf->get()));
    return true;
  }

  void note(absl::Time from, absl::Time to) {
    const absl::MutexLock lock(&mutex_);
    expires_ = to;
    due_ = renewal_time(from, to, random_(generator_));
    failures_ = 0;
    problem_.clear();
  }

  absl::Status join_first() {
    const absl::Time end = absl::Now() + options_.first_limit;
    for (bool lost = false;;) {
      const absl::Status joined = join();
      // What was asked may have been done all the same.
      if (lost && absl::IsAlreadyExists(joined))
        return absl::AlreadyExistsError(
            str_cat(joined.message(),
                    " (an attempt of this machine just before got no answer, and may be what "
                    "used it)"));
      lost = lost || worth_another_try(joined);
      if (joined.ok() || !worth_another_try(joined) || absl::Now() >= end) return joined;
      if (options_.give_up && options_.give_up())
        return absl::CancelledError(str_cat("told to stop: ", joined.message()));
      pause(absl::Now() + kAskAgain);
    }
  }

  absl::Status join() {
    const absl::MutexLock turn(&turn_);
    const auto token = read_private_file(options_.token_file);
    if (!token.ok())
      return annotate("this node has no valid certificate, and its join token cannot be read",
                      token.status());
    RETURN_IF_ERROR(exchange(joining_, [&](auto& stub, auto* context, const std::string& csr, auto* answer) {
      pb::JoinRequest question;
      question.set_token(*token);
      question.set_node(options_.node_name);
      question.set_csr(csr);
      return stub.Join(context, question, answer);
    }));
    log::info("joined", {{"node", options_.node_name}, {"weft_control", options_.access.target}});
    return absl::OkStatus();
  }

  template <typename Call>
  absl::Status exchange(ControlChannel& channel, const Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_) {
    ASSIGN_OR_RETURN(const KeyPtr key, make_key());
    ASSIGN_OR_RETURN(const std::string csr, request_for(key.get()));
    ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> connection, channel.shared());
    const auto stub = pb::NodeMembership::NewStub(connection);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    pb::NodeCertificate answer;
    RETURN_IF_ERROR(of_answer(options_.access.target, call(*stub, &context, csr, &answer)));
    return keep(answer.chain(), key.get());
  }

  absl::Status keep(const std::string& chain, EVP_PKEY* key) {
    const auto read = read_certificates(chain);
    if (!read.ok()) return annotate("what weft-control answered", read.status());
    X509* const leaf = read->front().get();
    const bool ours = X509_check_private_key(leaf, key) == 1;
    ERR_clear_error();
    if (!ours || node_of_certificate(leaf) != options_.node_name)
      return absl::InternalError("weft-control answered with another node's certificate");
    RETURN_IF_ERROR(write_pair(file_, chain, key));
    note(options_.now(), not_after(leaf));
    log::info("node_certificate_received",
              {{"node", options_.node_name},
               {"until", absl::FormatTime(absl::RFC3339_sec, not_after(leaf), absl::UTCTimeZone())}});
    return absl::OkStatus();
  }

  // True: the process ends.
  bool pause(absl::Time until) {
    const absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithDeadline(absl::Condition(&stopping_), until);
  }
  absl::Time due() const {
    const absl::MutexLock lock(&mutex_);
    return due_;
  }

  void run() {
    while (!pause(absl::Now() + (due() - options_.now()))) {
      const bool expired = [this] {
        const absl::MutexLock lock(&mutex_);
        return expires_ <= options_.now();
      }();
      const absl::Status done = expired ? join() : renew();
      if (!done.ok()) failed(done, expired);
    }
  }

  void failed(const absl::Status& status, bool expired) {
    const absl::MutexLock lock(&mutex_);
    if (failures_++ == 0)
      log::warn("node_certificate_not_renewed", {{"error", status.message()}, {"next", "asking again"}});
    due_ = retry_time(options_.now(), failures_, expires_, random_(generator_));
    problem_ =
        str_cat(expired ? "the node's certificate has expired: " : "the node's certificate was not renewed: ",
                status.message(),
                expired ? " (next: another token of `weft join-token create` in the file of "
                          "--join-token-file)"
                        : " (next: see weft-control's log)");
  }

  const Options options_;
  const std::string file_;
  ControlChannel joining_;
  absl::Mutex turn_;  // one exchange at a time
  mutable absl::Mutex mutex_ ABSL_ACQUIRED_AFTER(turn_);
  absl::Time expires_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Time due_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  int failures_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::minstd_rand generator_ ABSL_GUARDED_BY(mutex_){std::random_device{}()};
  std::uniform_real_distribution<double> random_ ABSL_GUARDED_BY(mutex_){0, 1};
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NodeCertificate>> NodeCertificate::open(Options options) {
  auto out = std::make_unique<KeptCertificate>(std::move(options));
  RETURN_IF_ERROR(out->begin());
  return out;
}

}  // namespace weft::control_plane
