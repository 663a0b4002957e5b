// See pipeline.h.
#include "control-plane/pipeline.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/courtesy.h"
#include "base/log.h"
#include "control-plane/compile/own_routes.h"
#include "control-plane/compile/request_authentication.h"
#include "control-plane/gateway_api_status.h"

namespace weft::control_plane {
namespace {

// As Istio does.
constexpr std::chrono::minutes kKeyRefresh{5};

auto sort_key(const Finding& f) { return std::tie(f.file, f.line, f.code, f.field, f.object, f.message); }

bool before(const Finding& a, const Finding& b) { return sort_key(a) < sort_key(b); }

bool same(const std::vector<Finding>& a, const std::vector<Finding>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Finding& x, const Finding& y) { return sort_key(x) == sort_key(y); });
}

// Compared where it was made anew only.
bool same_status(const std::shared_ptr<const GatewayApiStatus>& a,
                 const std::shared_ptr<const GatewayApiStatus>& b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

// All but workloads are compiled without a look at these.
bool is_of_workloads_only(const ObjectChange& change) {
  const std::string& kind = change.key.kind;
  return kind == kKindsOf<Pod>.front() || kind == kKindsOf<EndpointSlice>.front() ||
         kind == kKindsOf<Node>.front();
}

// Where no request is served nobody is in its way, and all nodes wait for it.
std::chrono::nanoseconds patience_of(const std::string& node_name) {
  return node_name == kAllNodes ? std::chrono::nanoseconds(0) : Courtesy::kPatience;
}

using ResourceName = std::pair<std::string_view, std::string_view>;

ResourceName name_of(const Resource& resource) { return {resource.type_url(), resource.name()}; }

// What came before `later` in `change` and is otherwise in it counts no more.
void forget_older(const Change& later, Change& change) {
  absl::flat_hash_set<ResourceName> names;
  for (const Resource& resource : later.upserted) names.insert(name_of(resource));
  for (const auto& [type, name] : later.removed) names.insert({type, name});
  std::erase_if(change.upserted, [&](const Resource& resource) { return names.contains(name_of(resource)); });
  std::erase_if(change.removed, [&](const auto& name) { return names.contains({name.first, name.second}); });
  absl::flat_hash_set<std::string_view> pods(later.gone_pods.begin(), later.gone_pods.end());
  for (const LocalPod& pod : later.changed_pods) pods.insert(pod.uid);
  std::erase_if(change.changed_pods, [&](const LocalPod& pod) { return pods.contains(pod.uid); });
  std::erase_if(change.gone_pods, [&](const std::string& uid) { return pods.contains(uid); });
}

template <typename T>
void append(std::vector<T>& more, std::vector<T>& out) {
  if (out.empty()) return out.swap(more);
  out.insert(out.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void add(Change later, Change& change) {
  const bool first = change.upserted.empty() && change.removed.empty() && change.changed_pods.empty() &&
                     change.gone_pods.empty();
  if (!first) forget_older(later, change);
  append(later.upserted, change.upserted);
  append(later.removed, change.removed);
  append(later.changed_pods, change.changed_pods);
  append(later.gone_pods, change.gone_pods);
}

// One part of the compiler may have what the other gave up.
void keep_upserted(Change& change) {
  if (change.removed.empty() || change.upserted.empty()) return;
  absl::flat_hash_set<ResourceName> names;
  for (const Resource& resource : change.upserted) names.insert(name_of(resource));
  std::erase_if(change.removed, [&](const auto& name) { return names.contains({name.first, name.second}); });
}

}  // namespace

std::vector<Finding> all_findings(const Store& store, const Compiled& compiled) {
  std::vector<Finding> out = store.findings();
  out.insert(out.end(), compiled.findings.begin(), compiled.findings.end());
  std::sort(out.begin(), out.end(), before);
  return out;
}

Pipeline::Pipeline(std::string node_name, FetchKeys fetch_keys, ControlPlane::Subscriber subscriber,
                   std::vector<std::string> certificate_folders, std::set<std::string> own_namespaces)
    : node_name_(std::move(node_name)),
      subscriber_(std::move(subscriber)),
      stage_(store_.objects(), node_name_, std::move(own_namespaces)) {
  resolver_ = DnsResolver::start(DnsResolver::Options(), [this] {
    const absl::MutexLock lock(&mutex_);
    // Before the first change, update() sees to it.
    if (generation_ > 0) recompile();
  });
  if (!certificate_folders.empty()) {
    file_secrets_ = std::make_unique<FileSecrets>(
        CertificateFiles::Options{.folders = std::move(certificate_folders)}, [this] {
          const absl::MutexLock lock(&mutex_);
          read_files();
          if (generation_ > 0) recompile();
        });
  }
  if (!fetch_keys) return;
  key_resolver_ = DnsResolver::start({.refresh = kKeyRefresh,
                                      .look_up = std::move(fetch_keys),
                                      .event = "keys_not_fetched",
                                      .next = "as the reason says; keys fetched before stay in force",
                                      .tells_problems = true},
                                     [this] {
                                       const absl::MutexLock lock(&mutex_);
                                       rest_due_ = true;
                                       if (generation_ > 0) recompile();
                                     });
}

// Before anything goes: a change that is told right now still uses the resolver.
Pipeline::~Pipeline() { stop(); }

void Pipeline::stop() {
  resolver_->stop();
  if (file_secrets_ != nullptr) file_secrets_->stop();
  if (key_resolver_ != nullptr) key_resolver_->stop();
}

void Pipeline::update(Store::Changes changes) {
  bool first = false;
  {
    const absl::MutexLock lock(&mutex_);
    first = generation_ == 0;
    // Pods name nothing that has to be looked up or read, and come and go all the time.
    if (take(store_.update(std::move(changes))) || first) {
      resolver_->want(hosts_to_resolve(store_.objects()));
      if (key_resolver_ != nullptr) key_resolver_->want(keys_to_fetch(store_.objects()));
      read_files();
    }
    if (!first) recompile();
  }
  if (!first) return;
  wait_for_look_ups();
  const absl::MutexLock lock(&mutex_);
  recompile();
}

void Pipeline::read_files() {
  if (file_secrets_ == nullptr) return;
  if (auto changes = file_secrets_->update(store_.objects())) take(store_.update(*std::move(changes)));
}

bool Pipeline::take(const std::vector<ObjectChange>& changes) {
  const Courtesy courtesy(patience_of(node_name_));
  step(changes);
  bool others = false;
  for (const ObjectChange& change : changes) {
    if (is_of_workloads_only(change)) continue;
    others = true;
    if (changes_own_routes(change))
      own_routes_due_.try_emplace(change.key, meta_of(*change.before).revision);
    else
      rest_due_ = true;
  }
  return others;
}

void Pipeline::step(const std::vector<ObjectChange>& changes) {
  Change made;
  stage_.apply(changes, resolver_->addresses(), &made);
  add(std::move(made), pending_);
}

void Pipeline::wait_for_look_ups() const {
  const auto end = std::chrono::steady_clock::now() + kFirstLookUps;
  bool all = true;
  for (const DnsResolver* each : {resolver_.get(), key_resolver_.get()}) {
    const auto left = end - std::chrono::steady_clock::now();
    if (each != nullptr)
      all = each->wait_for_first(std::chrono::duration_cast<std::chrono::milliseconds>(left)) && all;
  }
  if (!all)
    log::warn("look_ups_not_awaited",
              {{"seconds", kFirstLookUps.count()},
               {"next",
                "see that the name servers and the issuers of keys answer; what they say counts as "
                "soon as it is here"}});
}

void Pipeline::recompile() {
  const Courtesy courtesy(patience_of(node_name_));
  // Addresses may be others.
  step({});
  Change change = std::exchange(pending_, {});
  change.local_pods = stage_.local_pods();
  change.mesh_namespaces = stage_.mesh_namespaces();
  bool nothing_new = generation_ > 0;
  if (std::exchange(rest_due_, false) || stage_.news() || !recompile_own_routes(change)) {
    const auto status_before = rest_.gateway_api;
    recompile_rest(change);
    nothing_new = nothing_new && same_status(rest_.gateway_api, status_before);
  }
  change.gateway_api = rest_.gateway_api;
  change.findings = findings_now();
  nothing_new = nothing_new && change.upserted.empty() && change.removed.empty() &&
                change.changed_pods.empty() && change.gone_pods.empty() && change.local_pods == local_pods_ &&
                change.mesh_namespaces == mesh_namespaces_ && same(change.findings, findings_);
  if (nothing_new) return;
  change.generation = ++generation_;
  log_new(change.findings);
  local_pods_ = change.local_pods;
  mesh_namespaces_ = change.mesh_namespaces;
  findings_ = change.findings;
  subscriber_(change);
}

bool Pipeline::recompile_own_routes(Change& change) {
  const auto due = std::exchange(own_routes_due_, {});
  // What is told here the rest does not tell again.
  for (const auto& [key, compiled] : due) {
    if (!compile_own_routes(key, compiled, store_.objects(), rest_, change)) return false;
  }
  return true;
}

void Pipeline::recompile_rest(Change& change) {
  FetchedKeys keys;
  if (key_resolver_ != nullptr) {
    for (auto& [source, found] : key_resolver_->addresses())
      keys.sets.emplace(source, std::move(found.front()));
    keys.problems = key_resolver_->problems();
  }
  own_routes_due_.clear();
  stage_.begin_asking();
  Compiled next = compile_rest(store_.objects(), node_name_, stage_.facts(), &rest_,
                               key_resolver_ == nullptr ? nullptr : &keys);
  diff(rest_, next, change);
  keep_upserted(change);
  rest_ = std::move(next);
  ++rest_version_;
}

std::vector<Finding> Pipeline::findings_now() {
  const std::tuple now(store_.findings_version(), rest_version_, stage_.checks().version());
  if (std::exchange(findings_of_, now) == now) return findings_;
  std::vector<Finding> out = all_findings(store_, rest_);
  std::vector<Finding> of_endpoints = stage_.checks().findings();
  append(of_endpoints, out);
  std::sort(out.begin(), out.end(), before);
  return out;
}

void Pipeline::log_new(const std::vector<Finding>& findings) const {
  for (const Finding& finding : findings) {
    if (std::binary_search(findings_.begin(), findings_.end(), finding, before)) continue;
    const auto level = finding.level == Finding::Level::kError ? log::Level::kError : log::Level::kWarn;
    log::write(level, "manifest_finding", {{"finding", to_string(finding)}});
  }
}

}  // namespace weft::control_plane
