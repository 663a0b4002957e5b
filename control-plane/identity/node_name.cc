// See node_name.h.
#include "control-plane/identity/node_name.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace weft::control_plane {
namespace {

constexpr std::string_view kPrefix = "system:node:";
constexpr char kGroup[] = "system:nodes";

// All texts of an attribute of the subject.
std::vector<std::string> subject_texts(X509* certificate, int nid) {
  std::vector<std::string> out;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    out.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return out;
}

}  // namespace

std::string node_of_certificate(X509* certificate) {
  const std::vector<std::string> groups = subject_texts(certificate, NID_organizationName);
  const std::vector<std::string> names = subject_texts(certificate, NID_commonName);
  if (std::find(groups.begin(), groups.end(), kGroup) == groups.end()) return "";
  if (names.size() != 1 || !names[0].starts_with(kPrefix)) return "";
  return names[0].substr(kPrefix.size());
}

}  // namespace weft::control_plane
