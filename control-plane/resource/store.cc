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

void Store::touch(const File& file, bool replaced, Touched& out) const {
  for (const auto& [key, object] : file.objects) {
    const auto in_force = objects_.find(key);
    out.try_emplace(key, Before{in_force == objects_.end() ? nullptr : in_force->second, replaced});
  }
}

std::vector<ObjectChange> Store::update(Changes changes) {
  retired_.clear();
  std::map<std::string, File> updated;
  Touched touched;
  for (auto& [path, parsed] : changes) {
    const auto old = files_.find(path);
    if (old != files_.end()) touch(old->second, true, touched);
    if (!parsed) continue;
    File file{.findings = std::move(parsed->findings)};
    file.objects = merge(old != files_.end() ? &old->second : nullptr, *parsed, file.findings);
    touch(file, false, touched);
    updated.emplace(path, std::move(file));
  }
  const bool alone = duplicates_.empty();
  replace(std::move(updated), changes);
  if (!alone || !patch(touched, changes)) rebuild();
  std::vector<ObjectChange> out;
  for (const auto& [key, before] : touched) {
    const auto found = objects_.find(key);
    const Object* const now = found == objects_.end() ? nullptr : found->second;
    if (now != before.object) out.push_back({key, before.object, now});
  }
  return out;
}

void Store::replace(std::map<std::string, File> updated, const Changes& changes) {
  for (const auto& [path, parsed] : changes) {
    const auto old = files_.find(path);
    if (old != files_.end()) {
      retired_.push_back(std::move(old->second));
      files_.erase(old);
    }
    if (with_findings_.erase(path) > 0) ++findings_version_;
  }
  for (const auto& [path, file] : updated) {
    if (file.findings.empty()) continue;
    with_findings_.insert(path);
    ++findings_version_;
  }
  files_.merge(updated);
}

bool Store::patch(const Touched& touched, const Changes& changes) {
  for (const auto& [key, before] : touched) {
    if (before.replaced) objects_.at(key) = nullptr;
  }
  for (const auto& [path, parsed] : changes) {
    const auto file = files_.find(path);
    if (file == files_.end()) continue;
    for (const auto& [key, object] : file->second.objects) {
      const Object*& place = objects_[key];
      if (place != nullptr) return false;
      place = &object;
    }
  }
  for (const auto& [key, before] : touched) {
    const auto found = objects_.find(key);
    if (found != objects_.end() && found->second == nullptr) objects_.erase(found);
  }
  return true;
}

void Store::rebuild() {
  ++findings_version_;
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
  for (const std::string& path : with_findings_) {
    const std::vector<Finding>& of_file = files_.at(path).findings;
    out.insert(out.end(), of_file.begin(), of_file.end());
  }
  out.insert(out.end(), duplicates_.begin(), duplicates_.end());
  return out;
}

}  // namespace weft::control_plane
