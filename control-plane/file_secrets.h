// The Secrets that stand for certificates in files (resource/certificate_paths.h): finds out which are named,
// reads them, and tells the store about them as another file would. Part of the Pipeline, under its lock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/resource/store.h"
#include "control-plane/source/certificate_files.h"

namespace weft::control_plane {

class FileSecrets {
 public:
  // `changed`: see CertificateFiles.
  FileSecrets(CertificateFiles::Options options, std::function<void()> changed)
      : files_(CertificateFiles::start(std::move(options), std::move(changed))) {}

  // What the store is to be told now that it holds these objects; nullopt: nothing new. What makes no pair
  // leaves the last that did in force.
  std::optional<Store::Changes> update(const Objects& objects);
  // Without the pipeline's lock.
  void stop() { files_->stop(); }

 private:
  // Namespace and name of a Secret, and what its files say: certificate, key, authorities, revocations.
  using Name = std::pair<std::string, std::string>;
  using Contents = std::vector<CertificateFiles::File>;

  std::unique_ptr<CertificateFiles> files_;
  std::map<Name, Contents> told_;
};

}  // namespace weft::control_plane
