// ControlPlane over a folder, and analyze(): source → parse → store → compile → difference → subscriber.
// Everything after the source happens on the source's thread, or on the resolver's when names have other
// addresses.
#include "control-plane/control_plane.h"

#include <sys/stat.h>

#include <algorithm>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/store.h"
#include "control-plane/source/directory_source.h"
#include "control-plane/source/dns_resolver.h"

namespace weft::control_plane {
namespace {

auto sort_key(const Finding& f) { return std::tie(f.file, f.line, f.code, f.field, f.object, f.message); }

std::vector<Finding> all_findings(const Store& store, const Compiled& compiled) {
  std::vector<Finding> out = store.findings();
  out.insert(out.end(), compiled.findings.begin(), compiled.findings.end());
  std::sort(out.begin(), out.end(),
            [](const Finding& a, const Finding& b) { return sort_key(a) < sort_key(b); });
  return out;
}

bool same(const std::vector<Finding>& a, const std::vector<Finding>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Finding& x, const Finding& y) { return sort_key(x) == sort_key(y); });
}

ParsedFile parse_content(const std::string& path, const FileContent& content) {
  if (content.ok()) return parse_file(path, *content);
  ParsedFile out{.unknown_documents = true};
  out.findings.push_back({kFileUnreadable, Finding::Level::kError, path, 0, "", "",
                          str_cat("cannot be read: ", content.status().message()),
                          "check the path and its permissions"});
  return out;
}

class FolderControlPlane final : public ControlPlane {
 public:
  FolderControlPlane(Options options, Subscriber subscriber)
      : options_(std::move(options)), subscriber_(std::move(subscriber)) {}

  absl::Status run() {
    resolver_ = DnsResolver::start(DnsResolver::Options(), [this] {
      const absl::MutexLock lock(&mutex_);
      recompile();
    });
    auto source = DirectorySource::start(options_.config_dir, options_.debounce,
                                         [this](FolderChange change) { on_change(std::move(change)); });
    if (!source.ok()) return annotate("configuration folder", source.status());
    source_ = *std::move(source);
    return absl::OkStatus();
  }

  ~FolderControlPlane() override {
    // Both threads end while all that they use is there; both use the resolver.
    source_.reset();
    resolver_->stop();
  }

 private:
  // Source thread (the first time: the starting thread, before the source's thread exists).
  void on_change(FolderChange folder) {
    Store::Changes changes;
    for (auto& [path, content] : folder) {
      changes.emplace(path, content ? std::optional(parse_content(path, *content)) : std::nullopt);
    }
    const absl::MutexLock lock(&mutex_);
    store_.update(std::move(changes));
    resolver_->want(hosts_to_resolve(store_.objects()));
    recompile();
  }

  // Source or resolver thread.
  void recompile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Compiled next = compile(store_.objects(), options_.node_name, resolver_->addresses());
    Change change{.local_pods = next.local_pods, .findings = all_findings(store_, next)};
    diff(compiled_, next, change);
    const bool nothing_new = generation_ > 0 && change.upserted.empty() && change.removed.empty() &&
                             change.local_pods == compiled_.local_pods && same(change.findings, findings_);
    compiled_ = std::move(next);
    if (nothing_new) return;
    change.generation = ++generation_;
    log_new(change.findings);
    findings_ = change.findings;
    subscriber_(change);
  }

  void log_new(const std::vector<Finding>& findings) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Finding& finding : findings) {
      const bool known = std::any_of(findings_.begin(), findings_.end(),
                                     [&](const Finding& old) { return sort_key(old) == sort_key(finding); });
      if (known) continue;
      const auto level = finding.level == Finding::Level::kError ? log::Level::kError : log::Level::kWarn;
      log::write(level, "manifest_finding", {{"finding", to_string(finding)}});
    }
  }

  const Options options_;
  const Subscriber subscriber_;
  // One change at a time, whoever brings it.
  absl::Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
  Compiled compiled_ ABSL_GUARDED_BY(mutex_);
  std::vector<Finding> findings_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<DnsResolver> resolver_;
  std::unique_ptr<DirectorySource> source_;
};

void add_folder(const std::string& path, Store::Changes& changes) {
  auto folder = DirectorySource::read_folder(path);
  if (!folder.ok()) {
    changes.emplace(path, parse_content(path, folder.status()));
    return;
  }
  for (auto& [file, content] : *folder) {
    if (content) changes.emplace(file, parse_content(file, *content));
  }
}

void add_path(const std::string& path, Store::Changes& changes) {
  struct stat st{};
  if (stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return add_folder(path, changes);
  changes.emplace(path, parse_content(path, read_manifest(path)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::start(Options options, Subscriber subscriber) {
  auto control_plane = std::make_unique<FolderControlPlane>(std::move(options), std::move(subscriber));
  RETURN_IF_ERROR(control_plane->run());
  return control_plane;
}

std::vector<Finding> analyze(const std::vector<std::string>& paths) {
  Store::Changes changes;
  for (const std::string& path : paths) add_path(path, changes);
  Store store;
  store.update(std::move(changes));
  return all_findings(store, compile(store.objects(), ""));
}

}  // namespace weft::control_plane
