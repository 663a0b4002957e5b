// See certificate_paths.h.
#include "control-plane/resource/certificate_paths.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

// No Secret's name has a colon.
constexpr std::string_view kPrefix = "files:";
constexpr char kSeparator = '|';
constexpr size_t kMaxPath = 1024;

bool is_path(std::string_view text) {
  return text.size() <= kMaxPath && text.starts_with('/') &&
         std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return c < ' ' || c == 0x7f || c == kSeparator; });
}

}  // namespace

std::string CertificatePaths::secret_name() const {
  return str_cat(kPrefix, certificate, "|", key, "|", ca, "|", crl);
}

std::optional<CertificatePaths> CertificatePaths::of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  CertificatePaths out;
  for (std::string* part : {&out.certificate, &out.key, &out.ca, &out.crl}) {
    const size_t end = std::min(name.find(kSeparator), name.size());
    *part = name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return out;
}

std::string CertificatePaths::to_string() const {
  std::string out = "files";
  const char* before = " ";
  for (const std::string* path : {&certificate, &key, &ca, &crl}) {
    if (path->empty()) continue;
    str_append(&out, before, *path);
    before = ", ";
  }
  return out;
}

std::optional<CertificatePaths> parse_certificate_paths(const FieldReader& tls,
                                                        std::string_view certificate) {
  CertificatePaths out;
  const std::array<std::pair<std::string_view, std::string*>, 4> fields = {{{certificate, &out.certificate},
                                                                            {"privateKey", &out.key},
                                                                            {"caCertificates", &out.ca},
                                                                            {"caCrl", &out.crl}}};
  bool any = false;
  for (const auto& [field, path] : fields) {
    *path = tls.text(field).value_or("");
    // The system's authorities are no file of the operator's.
    if (path == &out.ca && out.ca == "system") path->clear();
    if (path->empty()) continue;
    any = true;
    if (!is_path(*path))
      tls.error_at(field, kValueRejected, "not an absolute path", "write it as /folder/file.pem");
  }
  if (!any) return std::nullopt;
  if (out.certificate.empty() != out.key.empty())
    tls.error_at(out.key.empty() ? certificate : std::string_view("privateKey"), kFieldMissing,
                 "a certificate and its key need each other",
                 str_cat("give both ", certificate, " and privateKey"));
  return out;
}

std::string secret_text(std::string_view ns, std::string_view name) {
  const auto files = CertificatePaths::of(name);
  return files ? files->to_string() : str_cat("Secret ", ns, "/", name);
}

}  // namespace weft::control_plane
