// ManifestFile: a manifest that `weft canary` changes: replaced whole (rename), mode and owner kept, and only
// while nobody else has changed it.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace weft::cli {

class ManifestFile {
 public:
  // A symbolic link is followed: what it points to is replaced, not the link. (The agent watches its own
  // folder: it reads a target elsewhere again when something changes there.)
  static absl::StatusOr<ManifestFile> open(const std::string& path);

  const std::string& path() const { return path_; }
  // As it was read, or written last.
  const std::string& text() const { return text_; }
  // FailedPrecondition when the file is no longer what text() says: nothing is written then.
  absl::Status replace(const std::string& text);

 private:
  ManifestFile(std::string path, std::string text) : path_(std::move(path)), text_(std::move(text)) {}

  std::string path_;
  std::string text_;
};

}  // namespace weft::cli
