// Certificates and keys in files of the node, of folders that the operator has named and of nowhere else:
// whoever may write a manifest could otherwise name any file that root can read. Looked at again every so
// often, because a folder may be replaced as a whole (a mounted Secret is a chain of symbolic links).
// Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weft::control_plane {

class CertificateFiles {
 public:
  struct Options {
    // Absolute. Symbolic links below one are followed as long as they do not lead out of it (openat2(2),
    // RESOLVE_BENEATH).
    std::vector<std::string> folders;
    std::chrono::milliseconds look{2'000};
  };
  struct File {
    // What it says, or what it said before there was a problem.
    std::string text;
    // Why it cannot be read, for people; empty: it can.
    std::string problem;
    bool operator==(const File&) const = default;
  };
  using Files = std::map<std::string, File>;

  // `changed` runs on a thread of its own, when a file that is wanted says something else.
  static std::unique_ptr<CertificateFiles> start(Options options, std::function<void()> changed);
  virtual ~CertificateFiles() = default;

  // Paths that are wanted from now on; new ones are read before it returns.
  virtual Files want(const std::set<std::string>& paths) = 0;
  // Nothing is read any more. Waits for `changed` when it runs, which may still call want().
  virtual void stop() = 0;
};

// One file, now.
CertificateFiles::File read_certificate_file(const std::vector<std::string>& folders,
                                             const std::string& path);

}  // namespace weft::control_plane
