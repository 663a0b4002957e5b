// ControlPlane over a folder, and analyze(): source → parse → Pipeline. Everything after the source happens
// on the source's thread, or on the resolver's when names have other addresses.
#include "control-plane/control_plane.h"

#include <sys/stat.h>

#include <map>
#include <string>

#include "base/courtesy.h"
#include "base/status_macros.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/pipeline.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/store.h"
#include "control-plane/source/directory_source.h"

namespace weft::control_plane {
namespace {

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
      : options_(std::move(options)),
        pipeline_(options_.node_name, options_.fetch_keys, std::move(subscriber),
                  options_.certificate_folders) {}
  // The source's thread may wait for look-ups.
  ~FolderControlPlane() override { pipeline_.stop(); }

  absl::Status run() {
    auto source = DirectorySource::start(options_.config_dir, options_.debounce,
                                         [this](FolderChange change) { on_change(std::move(change)); });
    if (!source.ok()) return annotate("configuration folder", source.status());
    source_ = *std::move(source);
    return absl::OkStatus();
  }

 private:
  // Source thread (the first time: the starting thread, before the source's thread exists).
  void on_change(FolderChange folder) {
    const Courtesy courtesy;
    Store::Changes changes;
    for (auto& [path, content] : folder) {
      if (!content) {
        versions_.erase(path);
        changes.emplace(path, std::nullopt);
      } else if (content->ok()) {
        changes.emplace(path, versions_[path].parse(path, **content));
      } else {
        changes.emplace(path, parse_content(path, *content));
      }
    }
    pipeline_.update(std::move(changes));
  }

  const Options options_;
  std::map<std::string, FileVersions> versions_;  // by path
  Pipeline pipeline_;
  // Last: its thread ends while all that it uses is there.
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
