// The thread of IdentityClient: one identity after the other, the most urgent first; then the lists.
#include "userspace-proxy/config/identity_client.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/renewal.h"
#include "base/status_macros.h"
#include "proto/istio/ca.grpc.pb.h"
#include "proto/weft/proxy/v1/identity.grpc.pb.h"
#include "userspace-proxy/tls/signing_request.h"

namespace weft::proxy {
namespace {

namespace ca = istio::v1::auth;

constexpr int64_t kLifetimeSeconds = 86'400;
// Between two certificates of an identity, however soon the first ends.
constexpr absl::Duration kShortest = absl::Seconds(1);

absl::Status from_grpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

class GrpcIdentityClient final : public IdentityClient {
 public:
  GrpcIdentityClient(Options options, Publish publish)
      : options_(std::move(options)), publish_(std::move(publish)), thread_([this] { run(); }) {}

  ~GrpcIdentityClient() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (call_ != nullptr) call_->TryCancel();
    }
    changed_.notify_all();
    thread_.join();
  }

  void want(std::map<std::string, SpiffeId> workloads) override {
    {
      const std::lock_guard lock(mutex_);
      if (workloads == wanted_) return;
      wanted_ = std::move(workloads);
      news_ = true;
    }
    changed_.notify_all();
  }

 private:
  struct Identity {
    CredentialsPtr credentials;  // null: none yet
    absl::Time due = absl::InfinitePast();
    int failures = 0;
  };

  void run() {
    grpc::ChannelArguments arguments;
    // Back-off is ours, for each identity.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    const auto channel =
        grpc::CreateCustomChannel(options_.target, grpc::InsecureChannelCredentials(), arguments);
    certificates_ = ca::IstioCertificateService::NewStub(channel);
    revocations_ = v1::Revocations::NewStub(channel);
    while (wait()) {
      follow_wishes();
      renew();
      look_for_revocations();
      publish();
    }
  }

  // Until something is due or wanted; false: to end.
  bool wait() {
    absl::Time next = lists_due_;
    for (const auto& [id, identity] : identities_) next = std::min(next, identity.due);
    const absl::Duration left = std::max(absl::ZeroDuration(), next - absl::Now());
    std::unique_lock lock(mutex_);
    if (!identities_.empty() || news_) {
      changed_.wait_for(lock, absl::ToChronoMilliseconds(std::min(left, absl::Hours(1))),
                        [this] { return stopping_ || news_; });
    } else {
      changed_.wait(lock, [this] { return stopping_ || news_; });
    }
    return !stopping_;
  }

  void follow_wishes() {
    {
      const std::lock_guard lock(mutex_);
      if (!news_) return;
      news_ = false;
      workloads_ = wanted_;
    }
    std::set<SpiffeId> ids;
    for (const auto& [uid, id] : workloads_) ids.insert(id);
    // The last workload of an identity has left: its key goes too.
    std::erase_if(identities_, [&ids](const auto& row) { return !ids.contains(row.first); });
    for (const SpiffeId& id : ids) identities_.try_emplace(id);
    dirty_ = true;
  }

  void renew() {
    for (auto& [id, identity] : identities_) {
      if (identity.due > absl::Now() || stopping()) continue;
      auto made = request(id);
      const absl::Time now = absl::Now();
      if (made.ok() && not_after((*made)->chain.front().get()) <= now)
        made = absl::FailedPreconditionError("the certificate has expired already");
      if (made.ok()) {
        X509* const leaf = (*made)->chain.front().get();
        log::info("certificate_received",
                  {{"identity", id.to_string()},
                   {"serial", serial_number(leaf)},
                   {"until", absl::FormatTime(absl::RFC3339_sec, not_after(leaf), absl::UTCTimeZone())}});
        // From now on: that it is backdated for peers whose clocks are late says nothing about its life.
        identity.due = std::max(renewal_time(now, not_after(leaf), random_(generator_)), now + kShortest);
        identity.credentials = *std::move(made);
        identity.failures = 0;
        dirty_ = true;
        continue;
      }
      const absl::Time expires = identity.credentials == nullptr
                                     ? absl::InfinitePast()
                                     : not_after(identity.credentials->chain.front().get());
      if (identity.failures++ == 0 && !stopping())
        log::warn("certificate_not_received",
                  {{"identity", id.to_string()},
                   {"error", made.status().message()},
                   {"next", "asking again; see `weft cert list` and the agent's log"}});
      identity.due = retry_time(now, identity.failures, expires, random_(generator_));
    }
  }

  absl::StatusOr<CredentialsPtr> request(const SpiffeId& id) {
    ASSIGN_OR_RETURN(KeyPtr key, make_key());
    ca::IstioCertificateRequest question;
    ASSIGN_OR_RETURN(*question.mutable_csr(), make_signing_request(key.get(), id));
    question.set_validity_duration(kLifetimeSeconds);
    (*question.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(id.to_string());
    ca::IstioCertificateResponse answer;
    RETURN_IF_ERROR(call([&](grpc::ClientContext& context) {
      return certificates_->CreateCertificate(&context, question, &answer);
    }));
    const std::vector<std::string> chain(answer.cert_chain().begin(), answer.cert_chain().end());
    return make_credentials(id, std::move(key), chain, lists_);
  }

  void look_for_revocations() {
    if (lists_due_ > absl::Now() || identities_.empty() || stopping()) return;
    lists_due_ = absl::Now() + absl::FromChrono(options_.revocation_period);
    v1::RevocationsResponse answer;
    const absl::Status asked =
        call([&](grpc::ClientContext& context) { return revocations_->Get(&context, {}, &answer); });
    if (!asked.ok()) return;
    renew_early(answer);
    if (answer.lists() != lists_) take_lists(answer.lists());
  }

  // Who is being asked for anyway is asked for when that is due.
  void renew_early(const v1::RevocationsResponse& answer) {
    for (auto& [id, identity] : identities_) {
      if (identity.credentials == nullptr || identity.failures > 0) continue;
      const int64_t begin = absl::ToUnixSeconds(not_before(identity.credentials->chain.front().get()));
      for (const v1::Renewal& renewal : answer.renewals()) {
        const bool meant = renewal.identity().empty() || renewal.identity() == id.to_string();
        if (meant && begin <= renewal.not_before_unix()) identity.due = absl::InfinitePast();
      }
    }
  }

  void take_lists(const std::string& lists) {
    // A list that does not read leaves the old one in force.
    if (const auto parsed = read_crls(lists); !parsed.ok()) return;
    lists_ = lists;
    for (auto& [id, identity] : identities_) {
      if (identity.credentials == nullptr) continue;
      if (auto with = with_crls(*identity.credentials, lists_); with.ok())
        identity.credentials = *std::move(with);
    }
    log::info("revocations_received", {{"bytes", lists_.size()}});
    dirty_ = true;
  }

  template <typename F>
  absl::Status call(F f) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + options_.call_deadline);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return absl::CancelledError("the proxy stops");
      call_ = &context;
    }
    const grpc::Status status = f(context);
    const std::lock_guard lock(mutex_);
    call_ = nullptr;
    return from_grpc(status);
  }

  void publish() {
    if (!dirty_ || stopping()) return;
    dirty_ = false;
    auto set = std::make_shared<CredentialSet>();
    for (const auto& [id, identity] : identities_) {
      if (identity.credentials != nullptr) set->by_id.emplace(id, identity.credentials);
    }
    for (const auto& [uid, id] : workloads_) {
      if (const auto found = set->by_id.find(id); found != set->by_id.end())
        set->by_workload.emplace(uid, found->second);
    }
    publish_(std::move(set));
  }

  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  const Options options_;
  const Publish publish_;

  // Client thread only.
  std::unique_ptr<ca::IstioCertificateService::Stub> certificates_;
  std::unique_ptr<v1::Revocations::Stub> revocations_;
  std::map<std::string, SpiffeId> workloads_;
  std::map<SpiffeId, Identity> identities_;
  std::string lists_;
  absl::Time lists_due_ = absl::InfinitePast();
  bool dirty_ = false;
  std::mt19937_64 generator_{std::random_device{}()};
  std::uniform_real_distribution<double> random_{0, 1};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, SpiffeId> wanted_;
  bool news_ = false;
  grpc::ClientContext* call_ = nullptr;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<IdentityClient> IdentityClient::start(Options options, Publish publish) {
  return std::make_unique<GrpcIdentityClient>(std::move(options), std::move(publish));
}

}  // namespace weft::proxy
