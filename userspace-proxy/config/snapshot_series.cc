// See snapshot_series.h.
#include "userspace-proxy/config/snapshot_series.h"

#include "userspace-proxy/config/snapshot_builder.h"

namespace weft::proxy {

SnapshotSeries::RouteSetPtr SnapshotSeries::routes_of(const std::string& type,
                                                      const std::string& name) const {
  if (type != kRouteSetType) return nullptr;
  const auto& sets = store_.resources().route_sets;
  const auto found = sets.find(name);
  return found == sets.end() ? nullptr : found->second;
}

absl::Status SnapshotSeries::apply(const std::string& type,
                                   const envoy::service::discovery::v3::Resource& resource) {
  RouteSetPtr before = routes_of(type, resource.name());
  absl::Status status = store_.apply(type, resource);
  if (!status.ok()) return status;
  if (others_) return status;
  RouteSetPtr now = routes_of(type, resource.name());
  if (before != nullptr && lead_alike(*before, *now))
    rerouted_.emplace_back(std::move(before), std::move(now));
  else
    note_other();
  return status;
}

void SnapshotSeries::remove(const std::string& type, const std::string& name) {
  store_.remove(type, name);
  note_other();
}

void SnapshotSeries::note_other() {
  others_ = true;
  rerouted_.clear();
}

SnapshotPtr SnapshotSeries::next() {
  ++generation_;
  SnapshotPtr next = others_ ? nullptr : reroute();
  if (next == nullptr) next = build_snapshot(store_.resources(), generation_, lists_);
  others_ = false;
  rerouted_.clear();
  last_ = next;
  return next;
}

SnapshotPtr SnapshotSeries::reroute() {
  auto out = std::make_shared<Snapshot>(*last_);
  out->generation = generation_;
  for (const auto& [before, now] : rerouted_) {
    if (!lists_.replace(*before, *now, *out)) return nullptr;
  }
  return out;
}

}  // namespace weft::proxy
