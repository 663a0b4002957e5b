// See lease.h.
#include "control-plane/status/lease.h"

#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::seconds kDeadline{5};
constexpr char kApiVersion[] = "coordination.k8s.io/v1";

// metav1.MicroTime.
std::string micro_time(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

}  // namespace

std::string Lease::path() const {
  return str_cat("/apis/", kApiVersion, "/namespaces/", options_.ns, "/leases");
}

absl::StatusOr<Lease::Record> Lease::read() {
  ASSIGN_OR_RETURN(const std::string text,
                   api_.call({.path = str_cat(path(), "/", options_.name), .deadline = kDeadline}));
  const Json lease = Json::parse(text, nullptr, false);
  if (!lease.is_object() || !lease.contains("metadata") || !lease["metadata"].is_object())
    return absl::UnavailableError("its answer is no Lease");
  const Json spec = object_at(lease, "spec");
  Record out{.holder = text_at(spec, "holderIdentity"),
             .renewed = text_at(spec, "renewTime"),
             .version = text_at(lease["metadata"], "resourceVersion")};
  out.transitions = integer_at(spec, "leaseTransitions");
  return out;
}

absl::Status Lease::create(absl::Time now) {
  const Json lease{{"apiVersion", kApiVersion},
                   {"kind", "Lease"},
                   {"metadata", {{"name", options_.name}, {"namespace", options_.ns}}},
                   {"spec",
                    {{"holderIdentity", options_.holder},
                     {"leaseDurationSeconds", absl::ToInt64Seconds(options_.duration)},
                     {"acquireTime", micro_time(now)},
                     {"renewTime", micro_time(now)},
                     {"leaseTransitions", 0}}}};
  return api_.call({.path = path(), .deadline = kDeadline, .method = "POST", .body = lease.dump()}).status();
}

// The version makes it fail when somebody else wrote meanwhile.
absl::Status Lease::update(const Record& before, const std::string& holder, absl::Time now) {
  Json spec{{"holderIdentity", holder},
            {"leaseDurationSeconds", absl::ToInt64Seconds(options_.duration)},
            {"renewTime", micro_time(now)},
            {"leaseTransitions", before.transitions + (before.holder == holder ? 0 : 1)}};
  if (before.holder != holder) spec["acquireTime"] = micro_time(now);
  const Json patch{{"metadata", {{"resourceVersion", before.version}}}, {"spec", spec}};
  return api_
      .call({.path = str_cat(path(), "/", options_.name),
             .deadline = kDeadline,
             .method = "PATCH",
             .body = patch.dump(),
             .content_type = "application/merge-patch+json"})
      .status();
}

bool Lease::hold(absl::Time now) {
  const absl::StatusOr<Record> record = read();
  absl::Status taken;
  if (absl::IsNotFound(record.status())) {
    taken = create(now);
  } else if (!record.ok()) {
    taken = record.status();
  } else if (record->holder == options_.holder || record->holder.empty()) {
    taken = update(*record, options_.holder, now);
  } else {
    problem_.clear();
    ours_until_ = absl::InfinitePast();
    const std::string other = str_cat(record->holder, " ", record->renewed);
    if (other != seen_) {
      seen_ = other;
      seen_at_ = now;
    }
    if (now - seen_at_ < options_.duration) return false;
    taken = update(*record, options_.holder, now);
  }
  problem_ = taken.ok() || absl::IsAlreadyExists(taken) ? "" : std::string(taken.message());
  if (taken.ok()) ours_until_ = now + options_.duration * 2 / 3;
  // Somebody else was faster.
  if (absl::IsAlreadyExists(taken)) ours_until_ = absl::InfinitePast();
  return now < ours_until_;
}

void Lease::release() {
  if (ours_until_ == absl::InfinitePast()) return;
  ours_until_ = absl::InfinitePast();
  const absl::StatusOr<Record> record = read();
  if (record.ok() && record->holder == options_.holder) static_cast<void>(update(*record, "", absl::Now()));
}

}  // namespace weft::control_plane
