// See store.h.
#include "control-plane/resource/store.h"

#include <utility>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

Finding duplicate(const Object& later, const Object& first) {
  const ObjectMeta& meta = meta_of(later);
  const ObjectMeta& other = meta_of(first);
  return {kDuplicateObject,
          Finding::Level::kWarning,
          meta.file,
          meta.line,
          key_of(later).to_string(),
          "metadata.name",
          str_cat("also defined at ", other.file, ":", other.line, ", which is in force"),
          "remove one of the two"};
}

}  // namespace

std::map<ObjectKey, Object> Store::merge(File* old, ParsedFile& parsed, std::vector<Finding>& findings) {
  std::map<ObjectKey, Object> now;
  // Not copied: the old version of the file goes.
  for (const ObjectKey& key : parsed.kept) {
    if (old != nullptr) now.insert(old->objects.extract(key));
  }
  for (Object& object : parsed.objects) {
    const ObjectKey key = key_of(object);
    const auto found = now.find(key);
    if (found != now.end()) {
      findings.push_back(duplicate(object, found->second));
    } else {
      meta_of(object).revision = ++revision_;
      now.emplace(key, std::move(object));
    }
  }
  for (const ObjectKey& key : parsed.refused) {
    // The last good version may have come from another file that this change renames.
    const auto in_force = objects_.find(key);
    if (old != nullptr && old->objects.contains(key)) {
      now.emplace(key, old->objects.at(key));
    } else if (in_force != objects_.end()) {
      now.emplace(key, *in_force->second);
    }
  }
  if (parsed.unknown_documents && old != nullptr) {
    for (const auto& [key, object] : old->objects) now.emplace(key, object);
  }
  return now;
}

void Store::update(Changes changes) {
  std::map<std::string, File> updated;
  for (auto& [path, parsed] : changes) {
    if (!parsed) continue;
    const auto old = files_.find(path);
    File file{.findings = std::move(parsed->findings)};
    file.objects = merge(old != files_.end() ? &old->second : nullptr, *parsed, file.findings);
    updated.emplace(path, std::move(file));
  }
  for (const auto& [path, parsed] : changes) files_.erase(path);
  files_.merge(updated);
  rebuild();
}

void Store::rebuild() {
  objects_.clear();
  duplicates_.clear();
  for (const auto& [path, file] : files_) {
    for (const auto& [key, object] : file.objects) {
      const auto [at, inserted] = objects_.emplace(key, &object);
      if (!inserted) duplicates_.push_back(duplicate(object, *at->second));
    }
  }
}

std::vector<Finding> Store::findings() const {
  std::vector<Finding> out;
  for (const auto& [path, file] : files_) out.insert(out.end(), file.findings.begin(), file.findings.end());
  out.insert(out.end(), duplicates_.begin(), duplicates_.end());
  return out;
}

}  // namespace weft::control_plane
