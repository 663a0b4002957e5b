// Fuzz target of what reads certificates and requests of others: SPIFFE ids, signing requests, chains,
// revocation lists and names. Looks for a name that is taken and does not read back as itself, and for
// whatever the sanitizers see in between.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>

#include "base/x509.h"
#include "control-plane/identity/certificate_request.h"

namespace weft {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const SpiffeId& id) {
  const auto again = SpiffeId::parse(id.to_string());
  require(again.has_value() && *again == id);
}

// DER of names, as a peer's certificate has it.
void read_names(const std::string& der, bool others_allowed) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const NamesPtr names(d2i_GENERAL_NAMES(nullptr, &at, static_cast<long>(der.size())));
  SpiffeId id;
  const SanReading reading = read_san(names.get(), others_allowed, &id);
  if (reading != SanReading::kOk) return;
  check(id);
  if (!others_allowed) require(sk_GENERAL_NAME_num(names.get()) == 1);
}

}  // namespace
}  // namespace weft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  const int kind = data.ConsumeIntegralInRange(0, 5);
  const std::string text = data.ConsumeRemainingBytesAsString();
  switch (kind) {
    case 0:
      if (const auto id = weft::SpiffeId::parse(text)) {
        weft::check(*id);
        weft::require(id->to_string() == text);
      }
      break;
    case 1:
      if (const auto request = weft::control_plane::parse_request(text); request.ok())
        weft::check(request->id);
      // What names somebody is no request that names nobody.
      if (weft::control_plane::parse_nameless_request(text).ok())
        weft::require(!weft::control_plane::parse_request(text).ok());
      break;
    case 2:
      if (const auto chain = weft::read_certificates(text); chain.ok()) {
        weft::SpiffeId id;
        for (const auto& one : *chain) {
          if (weft::read_san(one.get(), &id) == weft::SanReading::kOk) weft::check(id);
        }
      }
      break;
    case 3:
      static_cast<void>(weft::read_crls(text));
      break;
    default:
      weft::read_names(text, kind == 4);
  }
  return 0;
}
