// Why a match does not hold: what HttpMatcher::matches() answers no for. For those who explain routes; the
// data path asks matches() only.
#pragma once

#include <cstdint>

#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

// The first part that does not hold, in the order in which they are asked.
struct Mismatch {
  enum class Part : uint8_t {
    kNothing,  // all hold
    kPort,
    kSourceNamespace,
    kSourceLabel,
    kMethod,
    kUri,
    kAuthority,
    kScheme,
    kHeader,
    kWithoutHeader,
    kQueryParam,
  };
  Part part = Part::kNothing;
  uint32_t index = 0;  // of what there are several of
};

Mismatch mismatch_of(const HttpMatcher& matcher, const RequestHead& head, const SourceView& source,
                     uint16_t dialled_port);

}  // namespace weft::proxy
