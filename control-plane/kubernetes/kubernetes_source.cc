// See kubernetes_source.h.
#include "control-plane/kubernetes/kubernetes_source.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/source_trouble.h"

namespace weft::control_plane {
namespace {

using Clock = Reflector::Clock;
using Milliseconds = std::chrono::milliseconds;

// Between two looks at the clock when nothing happens.
constexpr Milliseconds kLongestTurn(1000);
constexpr Milliseconds kAskGiveUp(100);

ReflectorTiming own_timing(const KubernetesSource::Options& options) {
  ReflectorTiming out = options.timing;
  out.longest_retry = std::min(out.longest_retry, options.own_longest_retry);
  return out;
}

}  // namespace

KubernetesSource::KubernetesSource(ApiAccess access, Options options, Subscriber subscriber)
    : server_(access.server),
      options_(std::move(options)),
      own_timing_(own_timing(options_)),
      subscriber_(std::move(subscriber)),
      random_(options.seed != 0 ? options.seed : std::random_device()()) {}

absl::StatusOr<std::unique_ptr<KubernetesSource>> KubernetesSource::start(ApiAccess access, Options options,
                                                                          Subscriber subscriber) {
  const ApiClient::Options client = options.client;
  std::unique_ptr<KubernetesSource> source(
      new KubernetesSource(access, std::move(options), std::move(subscriber)));
  if (!access.verify)
    log::warn("kubernetes_not_verified",
              {{"server", access.server}, {"next", "remove insecure-skip-tls-verify from the kubeconfig"}});
  ASSIGN_OR_RETURN(source->client_, ApiClient::create(std::move(access), client));
  const Options& made = source->options_;
  if (!made.own_daemonset.empty()) {
    source->own_ = std::make_unique<OwnDaemonSet>(made.own_namespace, made.own_daemonset, *source->client_,
                                                  source->own_timing_, source->random_);
  }
  source->make_reflectors();
  source->secrets_ = std::make_unique<SecretWatches>(*source->client_, made.timing, source->random_);
  source->configs_ = std::make_unique<MeshConfigWatches>(
      made.own_only ? std::span<const KubernetesKind>() : mesh_config_kinds(), *source->client_, made.timing,
      source->random_);
  source->thread_ = std::thread([raw = source.get()] { raw->run(); });
  return source;
}

void KubernetesSource::make_reflectors() {
  const auto add = [this](const KubernetesKind& kind, const ReflectorTiming& timing) {
    reflectors_.push_back(std::make_unique<Reflector>(kind, *client_, timing, random_));
  };
  if (!options_.own_only) {
    for (const KubernetesKind& kind : kubernetes_kinds()) add(kind, options_.timing);
    return;
  }
  add(own_->namespace_kind(), own_timing_);
}

KubernetesSource::~KubernetesSource() {
  if (thread_.joinable()) {
    {
      const absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    client_->wake();
    thread_.join();
  }
  reflectors_.clear();
  own_.reset();
  secrets_.reset();
  configs_.reset();
}

bool KubernetesSource::wait_for_first(Milliseconds limit, const std::function<bool()>& give_up) {
  const absl::Time end = absl::Now() + absl::FromChrono(limit);
  const absl::MutexLock lock(&mutex_);
  while (!told_ && absl::Now() < end && (!give_up || !give_up())) {
    const absl::Time look = std::min(end, absl::Now() + absl::FromChrono(kAskGiveUp));
    mutex_.AwaitWithDeadline(absl::Condition(&told_), look);
  }
  return told_;
}

SourceReport KubernetesSource::report() const {
  const absl::MutexLock lock(&mutex_);
  return report_;
}

bool KubernetesSource::uninstalled() const {
  const absl::MutexLock lock(&mutex_);
  return uninstalled_;
}

bool KubernetesSource::answered() const {
  const absl::MutexLock lock(&mutex_);
  return answered_;
}

void KubernetesSource::ask_anew() {
  {
    const absl::MutexLock lock(&mutex_);
    ask_anew_ = true;
    answered_ = false;
  }
  client_->wake();
}

Clock::time_point KubernetesSource::look_after_own(Clock::time_point now) {
  if (own_ == nullptr) return Clock::time_point::max();
  own_->look(std::any_of(reflectors_.begin(), reflectors_.end(), [this](const auto& reflector) {
    return reflector->kind().name == "Namespace" && reflector->ending(own_->namespace_place());
  }));
  {
    const absl::MutexLock lock(&mutex_);
    if (std::exchange(ask_anew_, false)) own_->ask_anew();
    uninstalled_ = own_->deleted();
    answered_ = own_->answered();
  }
  return own_->tick(now);
}

void KubernetesSource::run() {
  while (true) {
    const Clock::time_point now = Clock::now();
    Clock::time_point due = now + kLongestTurn;
    for (const auto& reflector : reflectors_) {
      reflector->tick(now);
      due = std::min(due, reflector->due());
    }
    secrets_->tick(now);
    configs_->tick(now);
    due = std::min({due, look_after_own(now), publish(now)});
    due = std::min({due, secrets_->due(), configs_->due()});
    note_report();
    {
      const absl::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    client_->turn(std::max(std::chrono::ceil<Milliseconds>(due - Clock::now()), Milliseconds(0)));
  }
}

Clock::time_point KubernetesSource::publish(Clock::time_point now) {
  const auto all = [this](auto condition) {
    return std::all_of(reflectors_.begin(), reflectors_.end(),
                       [condition](const auto& reflector) { return condition(*reflector); });
  };
  // The first change is the whole state, whatever is listed again meanwhile.
  if (!first_told_ && !all([](const Reflector& r) { return r.synced(); })) return Clock::time_point::max();
  const bool nothing = all([](const Reflector& r) { return !r.settled() || !r.changed(); });
  if (first_told_ && nothing && pending_.empty() && !secrets_->changed() && !configs_->changed())
    return Clock::time_point::max();
  if (!std::exchange(gathering_, true)) gathering_since_ = now;
  const bool lacking = std::any_of(reflectors_.begin(), reflectors_.end(),
                                   [](const auto& reflector) { return reflector->may_lack_subsets(); });
  const Milliseconds gather = lacking ? options_.gather_subsets : options_.gather;
  const Clock::time_point when = first_told_ ? std::max(gathering_since_ + gather, not_before_) : now;
  if (when > now) return when;
  for (const auto& reflector : reflectors_) {
    if (first_told_ && !reflector->settled()) continue;
    for (auto& [place, file] : reflector->take()) pending_.insert_or_assign(place, std::move(file));
  }
  secrets_->note(now, &pending_);
  if (const Clock::time_point until = secrets_->awaited(!first_told_); until > now) return until;
  if (!first_told_) {
    if (const Clock::time_point until = configs_->awaited(now); until > now) return until;
  }
  secrets_->take(&pending_);
  configs_->take(&pending_);
  gathering_ = false;
  subscriber_(std::exchange(pending_, {}));
  if (std::exchange(first_told_, true)) {
    not_before_ = Clock::now() + (Clock::now() - now);
    return Clock::time_point::max();
  }
  log::info("kubernetes_read", {{"server", server_}});
  note_report();
  const absl::MutexLock lock(&mutex_);
  told_ = true;
  return Clock::time_point::max();
}

void KubernetesSource::note_report() {
  SourceReport next;
  std::vector<const Reflector*> all = secrets_->reflectors();
  for (const Reflector* reflector : configs_->reflectors()) all.push_back(reflector);
  for (const auto& reflector : reflectors_) {
    all.push_back(reflector.get());
    next.kinds.push_back(reflector->counts());
  }
  for (SourceReport::Kind& secrets : secrets_->counts()) next.kinds.push_back(std::move(secrets));
  if (!options_.own_only) next.kinds.push_back(configs_->counts());
  next.problems = describe_trouble(server_, all, first_told_, Clock::now());
  if (std::optional<std::string> problem = secrets_->problem()) next.problems.push_back(*std::move(problem));
  if (own_ != nullptr) {
    next.kinds.push_back(own_->reflector().counts());
    if (std::optional<std::string> problem = own_->problem(server_))
      next.problems.push_back(*std::move(problem));
  }
  log_trouble(next.problems);
  const absl::MutexLock lock(&mutex_);
  report_ = std::move(next);
}

void KubernetesSource::log_trouble(const std::vector<std::string>& problems) {
  if (std::exchange(troubled_, !problems.empty()) == !problems.empty()) return;
  if (problems.empty()) return log::info("kubernetes_back", {{"server", server_}});
  log::warn("kubernetes_trouble", {{"problem", problems.front()}});
}

}  // namespace weft::control_plane
