// See peer_names.h.
#include "userspace-proxy/tls/peer_names.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/match.h"
#include "base/address.h"
#include "base/strings.h"

namespace weft::proxy {
namespace {

std::string_view text_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

bool is_name(const GENERAL_NAME& name, const std::string& wanted) {
  switch (name.type) {
    case GEN_URI:
      return text_of(name.d.uniformResourceIdentifier) == wanted;
    case GEN_DNS:
      return absl::EqualsIgnoreCase(to_absl(text_of(name.d.dNSName)), wanted);
    case GEN_IPADD: {
      const auto address = IpAddress::parse(wanted);
      return address && text_of(name.d.iPAddress) == address->packed();
    }
    default:
      return false;
  }
}

}  // namespace

bool has_name_of(X509* certificate, std::span<const std::string> wanted) {
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) { return is_name(*name, w); }))
      return true;
  }
  return false;
}

TlsFault read_identity(X509* certificate, SpiffeId* id) {
  const SanReading reading = read_san(certificate, id);
  if (reading == SanReading::kNone) return TlsFault::kNoIdentity;
  return reading == SanReading::kOk ? TlsFault::kNoFault : TlsFault::kBadName;
}

}  // namespace weft::proxy
