// See endpoint_checks.h.
#include "control-plane/compile/endpoint_checks.h"

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

Finding warning(const char* code, const ObjectMeta& meta, const char* field, std::string message,
                const char* remedy) {
  return {code,
          Finding::Level::kWarning,
          meta.file,
          meta.line,
          ObjectKey{meta.kind, meta.ns, meta.name}.to_string(),
          field,
          std::move(message),
          remedy};
}

}  // namespace

void EndpointChecks::apply(const StaleUnits& stale, const Objects& objects, const WorkloadFacts& facts) {
  for (const StaleUnits::Name& name : stale.services())
    check(find<Service>(objects, name.first, name.second), name, facts);
  for (const std::string& key : facts.flipped()) {
    const Service* service = find_service(objects, key.substr(key.find('/') + 1));
    if (service != nullptr) check(service, {service->meta.ns, service->meta.name}, facts);
  }
  for (const StaleUnits::Name& name : stale.slices())
    check(find<EndpointSlice>(objects, name.first, name.second), name, objects);
}

void EndpointChecks::check(const Service* service, const StaleUnits::Name& name, const WorkloadFacts& facts) {
  if (service == nullptr || service->external_name || service->selector.empty() ||
      facts.has_endpoints(service_key(service->meta)))
    return set(services_, name, nullptr);
  const Finding finding = warning(kServiceSelectsNothing, service->meta, "spec.selector",
                                  "no pod matches the selector and its ports",
                                  "compare the selector with the pods' labels and port names");
  set(services_, name, &finding);
}

void EndpointChecks::check(const EndpointSlice* slice, const StaleUnits::Name& name, const Objects& objects) {
  if (slice == nullptr || find<Service>(objects, name.first, slice->service) != nullptr)
    return set(slices_, name, nullptr);
  const Finding finding =
      warning(kReferenceMissing, slice->meta, "metadata.labels[kubernetes.io/service-name]",
              str_cat("Service ", slice->meta.ns, "/", slice->service, " is unknown"),
              "add the Service, or correct the label");
  set(slices_, name, &finding);
}

void EndpointChecks::set(Found& found, const StaleUnits::Name& name, const Finding* finding) {
  if (finding == nullptr) {
    if (found.erase(name) > 0) ++version_;
    return;
  }
  const auto [known, fresh] = found.try_emplace(name, *finding);
  if (!fresh && known->second == *finding) return;
  known->second = *finding;
  ++version_;
}

std::vector<Finding> EndpointChecks::findings() const {
  std::vector<Finding> out;
  for (const Found* found : {&services_, &slices_}) {
    for (const auto& [name, finding] : *found) out.push_back(finding);
  }
  return out;
}

}  // namespace weft::control_plane
