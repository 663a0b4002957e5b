// See status_writer.h.
#include "control-plane/status/status_writer.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::seconds kDeadline{10};
// Of a list: what fits into an answer that ApiCaller takes.
constexpr int kPage = 50;

bool same(const std::vector<Finding>& a, const std::vector<Finding>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Finding& x, const Finding& y) {
    return x.code == y.code && x.level == y.level && x.field == y.field && x.message == y.message &&
           x.remedy == y.remedy;
  });
}

bool is_istio(const KubernetesKind& kind) { return kind.group.ends_with(".istio.io"); }

std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json object_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : Json::object();
}

}  // namespace

StatusWriter::StatusWriter(ApiAccess access, Options options)
    : options_(std::move(options)),
      api_(std::move(access)),
      lease_(api_, options_.lease),
      thread_([this] { run(); }) {}

StatusWriter::~StatusWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StatusWriter::tell(const std::vector<Finding>& findings) {
  ObjectFindings now = by_object(findings);
  const std::lock_guard lock(mutex_);
  for (const auto& [name, list] : now) {
    const auto before = wanted_.find(name);
    if (before == wanted_.end() || !same(before->second, list)) due_.insert(name);
  }
  for (const auto& [name, list] : wanted_) {
    if (!now.contains(name)) due_.insert(name);
  }
  wanted_ = std::move(now);
  told_ = true;
  changed_.notify_all();
}

StatusWriter::Counts StatusWriter::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void StatusWriter::run() {
  bool searched = false;
  while (true) {
    const bool leads = look();
    if (!leads) searched = false;
    if (leads && !searched) searched = find_stale();
    if (leads) write_due();
    std::unique_lock lock(mutex_);
    const bool pause_only = !leads || due_.empty();
    changed_.wait_for(lock, options_.look, [this, pause_only] {
      return stopping_ || (pause_only && counts_.leads && !due_.empty());
    });
    if (stopping_) break;
  }
  lease_.release();
}

bool StatusWriter::look() {
  {
    // Before the first findings nobody knows what is stale.
    const std::lock_guard lock(mutex_);
    if (!told_) return false;
    // Woken by news: the lease is not renewed for that.
    if (counts_.leads && absl::Now() < next_look_) return true;
  }
  next_look_ = absl::Now() + absl::FromChrono(options_.look);
  const bool leads = lease_.hold(absl::Now());
  const std::lock_guard lock(mutex_);
  if (leads != counts_.leads) log::info(leads ? "status_writer_leads" : "status_writer_follows", {});
  counts_.leads = leads;
  return leads;
}

bool StatusWriter::find_stale() {
  {
    // Whoever wrote before us may have missed some.
    const std::lock_guard lock(mutex_);
    for (const auto& [name, list] : wanted_) due_.insert(name);
  }
  bool all = true;
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (is_istio(kind)) all = find_stale(kind) && all;
  }
  return all;
}

bool StatusWriter::find_stale(const KubernetesKind& kind) {
  std::string next;
  do {
    const absl::StatusOr<std::string> text =
        api_.call({.path = str_cat(kind.path(0), "?limit=", kPage, next.empty() ? "" : "&continue=", next),
                   .deadline = kDeadline});
    // Not installed, or not in this version: then nobody wrote to it.
    if (absl::IsNotFound(text.status())) return true;
    if (!text.ok()) {
      count_failure(text.status());
      return false;
    }
    const Json list = Json::parse(*text, nullptr, false);
    if (!list.is_object() || !list.contains("items") || !list["items"].is_array()) return false;
    const std::lock_guard lock(mutex_);
    for (const Json& item : list["items"]) {
      if (!item.is_object() || !has_ours(object_at(item, "status"))) continue;
      const Json meta = object_at(item, "metadata");
      due_.insert({.kind = &kind, .ns = text_at(meta, "namespace"), .name = text_at(meta, "name")});
    }
    next = text_at(object_at(list, "metadata"), "continue");
  } while (!next.empty());
  return true;
}

void StatusWriter::write_due() {
  std::set<ObjectName> due;
  {
    const std::lock_guard lock(mutex_);
    due.swap(due_);
  }
  for (const ObjectName& name : due) {
    std::vector<Finding> findings;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (const auto found = wanted_.find(name); found != wanted_.end()) findings = found->second;
    }
    if (write(name, findings) == Written::kDone) continue;
    const std::lock_guard lock(mutex_);
    due_.insert(name);
  }
}

StatusWriter::Written StatusWriter::write(const ObjectName& name, const std::vector<Finding>& findings) {
  absl::StatusOr<std::string> text = absl::NotFoundError("");
  size_t version = 0;
  for (; version < name.kind->versions.size(); ++version) {
    text = api_.call({.path = name.path(version), .deadline = kDeadline});
    if (!absl::IsNotFound(text.status())) break;
  }
  // Deleted meanwhile.
  if (absl::IsNotFound(text.status())) return Written::kDone;
  if (!text.ok()) {
    count_failure(text.status());
    return Written::kAgain;
  }
  const Json object = Json::parse(*text, nullptr, false);
  if (!object.is_object()) return Written::kDone;
  const Json meta = object_at(object, "metadata");
  const std::optional<Json> messages = messages_for(object_at(object, "status"), findings);
  if (!messages) return Written::kDone;
  // With the version, so that what others write meanwhile is not lost.
  Json patch{{"metadata", {{"resourceVersion", text_at(meta, "resourceVersion")}}},
             {"status", {{"validationMessages", *messages}}}};
  if (meta.contains("generation")) patch["status"]["observedGeneration"] = meta["generation"];
  const absl::StatusOr<std::string> written =
      api_.call({.path = name.path(version) + "/status",
                 .deadline = kDeadline,
                 .method = "PATCH",
                 .body = patch.dump(-1, ' ', false, Json::error_handler_t::replace),
                 .content_type = "application/merge-patch+json"});
  if (absl::IsNotFound(written.status())) return Written::kDone;
  if (!written.ok()) {
    count_failure(written.status());
    return Written::kAgain;
  }
  {
    const std::lock_guard lock(mutex_);
    ++counts_.written;
  }
  for (const Finding& finding : findings) {
    if (finding.level == Finding::Level::kError) tell_event(object, finding);
  }
  return Written::kDone;
}

void StatusWriter::tell_event(const Json& object, const Finding& finding) {
  const Json event =
      event_for(object, finding, absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()));
  const absl::StatusOr<std::string> written = api_.call(
      {.path = str_cat("/api/v1/namespaces/", text_at(object_at(object, "metadata"), "namespace"), "/events"),
       .deadline = kDeadline,
       .method = "POST",
       .body = event.dump(-1, ' ', false, Json::error_handler_t::replace)});
  // An equal one is still there.
  if (absl::IsAlreadyExists(written.status())) return;
  if (!written.ok()) return count_failure(written.status());
  const std::lock_guard lock(mutex_);
  ++counts_.events;
}

void StatusWriter::count_failure(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  if (counts_.failed++ == 0)
    log::warn("status_not_written",
              {{"error", status.message()},
               {"next",
                "see that weft-control may patch the status of Istio's kinds and create events; "
                "weft_control_status_failed_total counts"}});
}

}  // namespace weft::control_plane
