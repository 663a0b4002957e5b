// See pipeline.h.
#include "control-plane/pipeline.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/courtesy.h"
#include "base/log.h"
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

}  // namespace

std::vector<Finding> all_findings(const Store& store, const Compiled& compiled) {
  std::vector<Finding> out = store.findings();
  out.insert(out.end(), compiled.findings.begin(), compiled.findings.end());
  std::sort(out.begin(), out.end(), before);
  return out;
}

Pipeline::Pipeline(std::string node_name, FetchKeys fetch_keys, ControlPlane::Subscriber subscriber,
                   std::vector<std::string> certificate_folders)
    : node_name_(std::move(node_name)), subscriber_(std::move(subscriber)) {
  const auto changed = [this] {
    const absl::MutexLock lock(&mutex_);
    // Before the first change, update() sees to it.
    if (generation_ > 0) recompile();
  };
  resolver_ = DnsResolver::start(DnsResolver::Options(), changed);
  if (!certificate_folders.empty()) {
    file_secrets_ = std::make_unique<FileSecrets>(
        CertificateFiles::Options{.folders = std::move(certificate_folders)}, [this] {
          const absl::MutexLock lock(&mutex_);
          read_files();
          if (generation_ > 0) recompile();
        });
  }
  if (!fetch_keys) return;
  key_resolver_ = DnsResolver::start(
      {.refresh = kKeyRefresh,
       .look_up = std::move(fetch_keys),
       .event = "keys_not_fetched",
       .next = "see that this node can get the URL, and that it is a JSON Web Key Set; keys fetched before "
               "stay in force"},
      changed);
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
    store_.update(std::move(changes));
    resolver_->want(hosts_to_resolve(store_.objects()));
    if (key_resolver_ != nullptr) key_resolver_->want(keys_to_fetch(store_.objects()));
    read_files();
    first = generation_ == 0;
    if (!first) recompile();
  }
  if (!first) return;
  wait_for_look_ups();
  const absl::MutexLock lock(&mutex_);
  recompile();
}

void Pipeline::read_files() {
  if (file_secrets_ == nullptr) return;
  if (auto changes = file_secrets_->update(store_.objects())) store_.update(*std::move(changes));
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
  const Courtesy courtesy;
  FetchedKeys keys;
  if (key_resolver_ != nullptr) {
    for (auto& [url, found] : key_resolver_->addresses()) keys.emplace(url, std::move(found.front()));
  }
  Compiled next = compile(store_.objects(), node_name_, resolver_->addresses(), &compiled_,
                          key_resolver_ == nullptr ? nullptr : &keys);
  Change change{.local_pods = next.local_pods,
                .mesh_namespaces = next.mesh_namespaces,
                .findings = all_findings(store_, next),
                .gateway_api = next.gateway_api};
  diff(compiled_, next, change);
  const bool nothing_new =
      generation_ > 0 && change.upserted.empty() && change.removed.empty() &&
      change.local_pods == compiled_.local_pods && change.mesh_namespaces == compiled_.mesh_namespaces &&
      same_status(change.gateway_api, compiled_.gateway_api) && same(change.findings, findings_);
  compiled_ = std::move(next);
  if (nothing_new) return;
  change.generation = ++generation_;
  log_new(change.findings);
  findings_ = change.findings;
  subscriber_(change);
}

void Pipeline::log_new(const std::vector<Finding>& findings) const {
  for (const Finding& finding : findings) {
    if (std::binary_search(findings_.begin(), findings_.end(), finding, before)) continue;
    const auto level = finding.level == Finding::Level::kError ? log::Level::kError : log::Level::kWarn;
    log::write(level, "manifest_finding", {{"finding", to_string(finding)}});
  }
}

}  // namespace weft::control_plane
