// See status_writer.h.
#include "control-plane/status/status_writer.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/kubernetes/json_fields.h"
#include "control-plane/status/ca_bundle.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

// Not longer than a lease is ours after a look at it.
constexpr std::chrono::seconds kDeadline{5};
// Of a list: what fits into an answer that ApiCaller takes.
constexpr int kPage = 50;
// Reads of an object that somebody else is writing too.
constexpr int kAttempts = 3;
constexpr absl::Duration kShowEvery = absl::Minutes(1);
constexpr char kMergePatch[] = "application/merge-patch+json";
constexpr char kWebhooks[] = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
constexpr char kClasses[] = "/apis/gateway.networking.k8s.io/v1/gatewayclasses";

bool same(const std::vector<Finding>& a, const std::vector<Finding>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Finding& x, const Finding& y) {
    return x.code == y.code && x.level == y.level && x.field == y.field && x.message == y.message &&
           x.remedy == y.remedy;
  });
}

std::string now_text() { return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone()); }

std::string text_for(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Calls add(key) for each key whose values are not the same in both.
template <typename Map, typename Same, typename Add>
void for_each_difference(const Map& a, const Map& b, Same same, Add add) {
  for (const auto& [key, value] : a) {
    const auto other = b.find(key);
    if (other == b.end() || !same(value, other->second)) add(key);
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) add(key);
  }
}

}  // namespace

StatusWriter::StatusWriter(ApiAccess access, Options options)
    : options_(std::move(options)),
      api_(std::move(access)),
      lease_(api_, options_.lease),
      backoff_(options_.retry, options_.longest_retry),
      random_(static_cast<uint32_t>(std::hash<std::string>()(options_.lease.holder))),
      thread_([this] { run(); }) {}

StatusWriter::~StatusWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StatusWriter::tell(const std::vector<Finding>& findings,
                        std::shared_ptr<const GatewayApiStatus> gateway_api) {
  static const GatewayApiStatus kNothing;
  ObjectFindings now = by_object(findings);
  const std::lock_guard lock(mutex_);
  if (counts_.leads) {
    for_each_difference(wanted_, now, same, [this](const ObjectName& name) { due_.insert(name); });
    const auto add = [this](const ObjectKey& key) {
      if (const auto name = object_of(key)) due_.insert(*name);
    };
    const GatewayApiStatus& before = gateway_api_ == nullptr ? kNothing : *gateway_api_;
    const GatewayApiStatus& after = gateway_api == nullptr ? kNothing : *gateway_api;
    if (&before != &after) {
      for_each_difference(before.routes, after.routes, std::equal_to<>(), add);
      for_each_difference(before.gateways, after.gateways, std::equal_to<>(), add);
    }
  }
  wanted_ = std::move(now);
  gateway_api_ = std::move(gateway_api);
  told_ = true;
  changed_.notify_all();
}

void StatusWriter::tell_authorities(std::string pem) {
  const std::lock_guard lock(mutex_);
  authorities_ = std::move(pem);
}

StatusWriter::Counts StatusWriter::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void StatusWriter::run() {
  do {
    if (!leads() || absl::Now() < not_before_) continue;
    if (work())
      backoff_.reset();
    else
      not_before_ = absl::Now() + absl::FromChrono(backoff_.next(random_));
  } while (pause());
  lease_.release();
}

bool StatusWriter::pause() {
  std::unique_lock lock(mutex_);
  const bool waits_to_be_told = !told_;
  const auto news = [&] {
    return stopping_ || (waits_to_be_told && told_) ||
           (counts_.leads && !due_.empty() && absl::Now() >= not_before_);
  };
  absl::Time until = told_ ? next_look_ : absl::Now() + absl::FromChrono(options_.look);
  if (counts_.leads && !(due_.empty() && unswept_.empty())) until = std::min(until, not_before_);
  changed_.wait_for(lock, absl::ToChronoMilliseconds(std::max(until - absl::Now(), absl::ZeroDuration())),
                    news);
  return !stopping_;
}

bool StatusWriter::leads() {
  {
    // Before the first findings nobody knows what is stale.
    const std::lock_guard lock(mutex_);
    if (!told_ || stopping_) return false;
  }
  if (absl::Now() >= next_look_) look();
  const std::lock_guard lock(mutex_);
  return counts_.leads && !stopping_;
}

void StatusWriter::look() {
  const absl::Time now = absl::Now();
  next_look_ = now + absl::FromChrono(options_.look);
  const bool leads = lease_.hold(now);
  show_problem();
  const std::lock_guard lock(mutex_);
  if (leads == counts_.leads) return;
  log::info(leads ? "status_writer_leads" : "status_writer_follows", {});
  counts_.leads = leads;
  due_.clear();
  unswept_.clear();
  if (!leads) return;
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (has_status(kind)) unswept_.insert(&kind);
  }
  next_unwatched_ = not_before_ = absl::InfinitePast();
  backoff_.reset();
}

void StatusWriter::show_problem() {
  std::string problem = lease_.problem();
  if (!problem.empty()) {
    str_append(&problem, " (next: see that weft-control may get, create and patch Lease ", options_.lease.ns,
               "/", options_.lease.name, ", and that the API server answers)");
    if (absl::Now() - shown_ >= kShowEvery) {
      shown_ = absl::Now();
      log::warn("status_lease_not_held", {{"problem", problem}});
    }
  } else {
    shown_ = absl::InfinitePast();
  }
  const std::lock_guard lock(mutex_);
  counts_.problem = std::move(problem);
}

bool StatusWriter::work() {
  bool all = sweep();
  all = write_due() && all;
  return write_unwatched() && all;
}

bool StatusWriter::sweep() {
  bool all = true;
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (!unswept_.contains(&kind)) continue;
    if (!leads()) return all;
    if (sweep(kind))
      unswept_.erase(&kind);
    else
      all = false;
  }
  return all;
}

bool StatusWriter::sweep(const KubernetesKind& kind) {
  for (size_t version = 0; version < kind.versions.size(); ++version) {
    std::string next;
    bool served = true;
    do {
      if (!leads()) return false;
      const absl::StatusOr<std::string> text = api_.call(
          {.path = str_cat(kind.path(version), "?limit=", kPage, next.empty() ? "" : "&continue=", next),
           .deadline = kDeadline});
      // Not installed, or not in this version.
      served = !absl::IsNotFound(text.status());
      if (!served) break;
      if (!text.ok()) {
        count_failure(text.status());
        return false;
      }
      const Json list = Json::parse(*text, nullptr, false);
      note_due(kind, array_at(list, "items"));
      next = text_at(object_at(list, "metadata"), "continue");
    } while (!next.empty());
    if (served) return true;
  }
  return true;
}

void StatusWriter::note_due(const KubernetesKind& kind, const Json& items) {
  for (const Json& item : items) {
    const Json meta = object_at(item, "metadata");
    const ObjectName name{.kind = &kind, .ns = text_at(meta, "namespace"), .name = text_at(meta, "name")};
    if (name.name.empty() || !status_now(name, item)) continue;
    const std::lock_guard lock(mutex_);
    due_.insert(name);
  }
}

bool StatusWriter::write_due() {
  std::set<ObjectName> due;
  {
    const std::lock_guard lock(mutex_);
    due = due_;
  }
  bool all = true;
  for (const ObjectName& name : due) {
    if (!leads()) return all;
    {
      const std::lock_guard lock(mutex_);
      if (due_.erase(name) == 0) continue;
    }
    const Written written = write(name);
    if (written == Written::kDone) continue;
    all = false;
    const std::lock_guard lock(mutex_);
    // Whoever leads next finds it.
    if (counts_.leads) due_.insert(name);
    if (written == Written::kNoServer) return false;
  }
  return all;
}

StatusWriter::Written StatusWriter::failed(const absl::Status& status) {
  count_failure(status);
  return absl::IsUnavailable(status) ? Written::kNoServer : Written::kFailed;
}

StatusWriter::Written StatusWriter::write(const ObjectName& name) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    absl::StatusOr<std::string> text = absl::NotFoundError("");
    size_t version = 0;
    for (; version < name.kind->versions.size(); ++version) {
      text = api_.call({.path = name.path(version), .deadline = kDeadline});
      if (!absl::IsNotFound(text.status())) break;
    }
    // Deleted meanwhile.
    if (absl::IsNotFound(text.status())) return Written::kDone;
    if (!text.ok()) return failed(text.status());
    const Json object = Json::parse(*text, nullptr, false);
    const std::optional<Json> status = status_now(name, object);
    if (!status) return Written::kDone;
    const absl::Status written = patch_status(name.path(version), object, *status);
    // Somebody else was faster: what the status is to be may be another now.
    if (absl::IsAlreadyExists(written)) continue;
    if (absl::IsNotFound(written)) return Written::kDone;
    if (!written.ok()) return failed(written);
    {
      const std::lock_guard lock(mutex_);
      ++counts_.written;
    }
    for (const Finding& finding : findings_of(name)) {
      if (finding.level == Finding::Level::kError) tell_event(object, finding);
    }
    return Written::kDone;
  }
  return failed(absl::AbortedError("others write its status all the time"));
}

bool StatusWriter::write_unwatched() {
  if (absl::Now() < next_unwatched_ || !leads()) return true;
  next_unwatched_ = absl::Now() + absl::FromChrono(options_.unwatched);
  const bool classes = write_classes();
  return write_authorities() && classes;
}

bool StatusWriter::write_authorities() {
  std::string authorities;
  {
    const std::lock_guard lock(mutex_);
    authorities = authorities_;
  }
  if (authorities.empty() || options_.webhook_configuration.empty() || !leads()) return true;
  const std::string path = str_cat(kWebhooks, "/", options_.webhook_configuration);
  const absl::StatusOr<std::string> text = api_.call({.path = path, .deadline = kDeadline});
  // The webhook is not wanted.
  if (absl::IsNotFound(text.status())) return true;
  absl::Status done = text.status();
  if (done.ok()) {
    const std::optional<Json> patch = bundle_patch_for(Json::parse(*text, nullptr, false), authorities);
    if (!patch) return true;
    done = api_.call({.path = path,
                      .deadline = kDeadline,
                      .method = "PATCH",
                      .body = text_for(*patch),
                      .content_type = kMergePatch})
               .status();
  }
  if (!done.ok()) count_failure(done);
  return done.ok();
}

bool StatusWriter::write_classes() {
  const absl::StatusOr<std::string> text = api_.call({.path = kClasses, .deadline = kDeadline});
  if (absl::IsNotFound(text.status())) return true;
  if (!text.ok()) {
    count_failure(text.status());
    return false;
  }
  for (const Json& item : array_at(Json::parse(*text, nullptr, false), "items")) {
    const std::optional<Json> status = class_status_for(item, now_text());
    if (!status || !leads()) continue;
    const std::string path = str_cat(kClasses, "/", text_at(object_at(item, "metadata"), "name"));
    const absl::Status written = patch_status(path, item, *status);
    if (!written.ok()) {
      count_failure(written);
      return false;
    }
    const std::lock_guard lock(mutex_);
    ++counts_.written;
  }
  return true;
}

// With the version, so that what others write meanwhile is not lost.
absl::Status StatusWriter::patch_status(const std::string& path, const Json& object, const Json& status) {
  const Json patch{
      {"metadata", {{"resourceVersion", text_at(object_at(object, "metadata"), "resourceVersion")}}},
      {"status", status}};
  return api_
      .call({.path = path + "/status",
             .deadline = kDeadline,
             .method = "PATCH",
             .body = text_for(patch),
             .content_type = kMergePatch})
      .status();
}

std::vector<Finding> StatusWriter::findings_of(const ObjectName& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = wanted_.find(name);
  return found != wanted_.end() ? found->second : std::vector<Finding>();
}

std::optional<Json> StatusWriter::status_now(const ObjectName& name, const Json& object) const {
  if (!object.is_object()) return std::nullopt;
  std::shared_ptr<const GatewayApiStatus> gateway_api;
  {
    const std::lock_guard lock(mutex_);
    gateway_api = gateway_api_;
  }
  return status_for(name, object, findings_of(name),
                    {.api = gateway_api.get(), .addresses = options_.gateway_addresses, .now = now_text()});
}

void StatusWriter::tell_event(const Json& object, const Finding& finding) {
  const Json event = event_for(object, finding, now_text());
  const absl::StatusOr<std::string> written = api_.call(
      {.path = str_cat("/api/v1/namespaces/", text_at(object_at(object, "metadata"), "namespace"), "/events"),
       .deadline = kDeadline,
       .method = "POST",
       .body = text_for(event)});
  // An equal one is still there.
  if (absl::IsAlreadyExists(written.status())) return;
  if (!written.ok()) return count_failure(written.status());
  const std::lock_guard lock(mutex_);
  ++counts_.events;
}

void StatusWriter::count_failure(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  ++counts_.failed;
  if (absl::Now() - failure_shown_ < kShowEvery) return;
  failure_shown_ = absl::Now();
  log::warn(
      "status_not_written",
      {{"error", status.message()},
       {"failures", counts_.failed},
       {"next",
        "see that weft-control may patch the status of the kinds of Istio and of the Gateway API and create "
        "events (docs/kubernetes.md); it tries again by itself"}});
}

}  // namespace weft::control_plane
