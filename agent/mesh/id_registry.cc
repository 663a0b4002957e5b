// Ids by hash, the next free number where two have the same; see id_registry.h. Called by the reconciler on
// every change of the configuration.
#include "agent/mesh/id_registry.h"

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "proto/istio/workload.pb.h"

namespace weft::agent {
namespace {

uint64_t mix(uint64_t h, std::string_view text) {
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// FNV-1a, 64 bits folded to 32, of the kind's letter and the key: the same on every build and machine.
uint32_t hash(Subject::Kind kind, std::string_view key) {
  const uint64_t h = mix(mix(0xcbf29ce484222325u, kind == Subject::Kind::kWorkload ? "w " : "s "), key);
  return static_cast<uint32_t>(h ^ (h >> 32));
}

Subject read(Subject::Kind kind, const control_plane::Resource& resource) {
  Subject out{.kind = kind, .key = std::string(resource.name()), .name = {}, .ns = {}};
  istio::workload::Address address;
  if (!resource.decode(&address)) return out;
  if (kind == Subject::Kind::kWorkload) {
    out.name = address.workload().name();
    out.ns = address.workload().namespace_();
  } else {
    out.name = address.service().name();
    out.ns = address.service().namespace_();
  }
  return out;
}

}  // namespace

const IdRegistry::Row* IdRegistry::locate(uint32_t hashed, Subject::Kind kind, std::string_view key) const {
  auto found = by_id_.find(hashed);
  if (found != by_id_.end() && found->kind == kind && found->resource.name() == key) return &*found;
  if (displaced_.empty()) return nullptr;
  const auto displaced = displaced_.find({kind, std::string(key)});
  if (displaced == displaced_.end()) return nullptr;
  found = by_id_.find(displaced->second);
  return &*found;
}

uint32_t IdRegistry::put(Row row) {
  const uint32_t first = hash(row.kind, row.resource.name());
  if (const Row* known = locate(first, row.kind, row.resource.name())) {
    row.id = known->id;
    by_id_.erase(row.id);
  } else {
    row.id = first;
    while (row.id == WEFT_ID_UNKNOWN || row.id == WEFT_ID_OVERFLOW || by_id_.contains(row.id)) ++row.id;
    if (row.id != first) displaced_[{row.kind, std::string(row.resource.name())}] = row.id;
  }
  const uint32_t id = row.id;
  by_id_.insert(std::move(row));
  return id;
}

uint32_t IdRegistry::add(Subject::Kind kind, const control_plane::Resource& resource) {
  return put(Row{.id = 0, .kind = kind, .resource = resource});
}

uint32_t IdRegistry::add(const Subject& subject) {
  istio::workload::Address address;
  if (subject.kind == Subject::Kind::kWorkload) {
    address.mutable_workload()->set_name(subject.name);
    address.mutable_workload()->set_namespace_(subject.ns);
  } else {
    address.mutable_service()->set_name(subject.name);
    address.mutable_service()->set_namespace_(subject.ns);
  }
  return add(subject.kind, control_plane::Resource(control_plane::kAddressType, subject.key, "",
                                                   address.SerializeAsString()));
}

uint32_t IdRegistry::remove(Subject::Kind kind, std::string_view key) {
  const Row* known = locate(hash(kind, key), kind, key);
  if (known == nullptr) return WEFT_ID_UNKNOWN;
  const uint32_t id = known->id;
  if (id != hash(kind, key)) displaced_.erase({kind, std::string(key)});
  by_id_.erase(id);
  return id;
}

IdRegistry IdRegistry::only(const std::vector<uint32_t>& ids) const {
  IdRegistry out;
  for (const uint32_t id : ids) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) continue;
    out.by_id_.insert(*found);
    if (id != hash(found->kind, found->resource.name()))
      out.displaced_[{found->kind, std::string(found->resource.name())}] = id;
  }
  return out;
}

uint32_t IdRegistry::find(Subject::Kind kind, std::string_view key) const {
  const Row* known = locate(hash(kind, key), kind, key);
  return known == nullptr ? WEFT_ID_UNKNOWN : known->id;
}

std::optional<Subject> IdRegistry::subject(uint32_t id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return read(found->kind, found->resource);
}

std::string_view IdRegistry::service_key(uint32_t id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || found->kind != Subject::Kind::kService) return {};
  return found->resource.name();
}

}  // namespace weft::agent
