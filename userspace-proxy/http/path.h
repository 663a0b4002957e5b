// Request paths in one spelling, so that routing, policy and the upstream cannot read one path in two ways.
// Pure functions on strings and RequestHead, whatever the HTTP version; called once per request, where its
// head is made. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// MeshConfig.pathNormalization of Istio (istio.mesh.v1alpha1, ProxyPathNormalization). Each level includes
// those before it.
enum class PathNormalisation : uint8_t {
  kNone,
  // RFC 3986 §6.2.2: "." and ".." segments removed, escapes of unreserved characters (ALPHA DIGIT - . _ ~)
  // decoded; "\" becomes "/". All in one pass: what comes out of an escape is never an escape itself.
  kBase,
  // Then runs of "/" become one.
  kMergeSlashes,
  // "%2F" and "%5C" are decoded to "/" before all of that.
  kDecodeAndMergeSlashes,
};

// "none", "base", "merge-slashes", "decode-and-merge-slashes"; nullopt for another word.
std::optional<PathNormalisation> parse_path_normalisation(std::string_view word);

enum class PathResult : uint8_t {
  kUnchanged,  // normal already, or "*"; `out` is not touched
  kRewritten,  // `out` holds the path
  kRefused,    // "%00", or "%" without two hexadecimal digits: servers disagree about what that is
};

// `path` begins with "/" or is "*", and has no query. `out` keeps its memory; nothing is allocated for a path
// that is normal already. Normalising the result again leaves it unchanged.
PathResult normalise_path(std::string_view path, PathNormalisation level, std::string* out);

// Servers disagree about what parts a path, and in which order it is tidied up. Every other escape is decoded
// by all of them.
enum class SlashReading : uint8_t { kSlash, kBackslashToo, kEscapedToo };
struct PathReading {
  SlashReading slashes = SlashReading::kEscapedToo;
  bool merges_first = false;  // runs of "/" become one before ".." takes a segment away, not after it
};

// `path` as such a server reads it: fully decoded, without dot segments and without runs of "/". What does
// not begin with "/" stays as it is. False: it has an escape that is none, or "%00"; `out` is then not
// touched.
bool read_path(std::string_view path, PathReading reading, std::string* out);
// A text that is compared with such paths, or a part of one: escapes decoded, "\" as "/", runs of "/" as one.
// What is no escape stays.
std::string plain_path_text(std::string_view text);

// Only bytes that a target may have (RFC 9112 §3.2, RFC 9113 §8.3.1): no controls, no spaces, nothing above
// 0x7e, no "#". False when empty.
bool is_target_text(std::string_view target);

// Sets path and query from a target in origin form, "/a?b". False for anything else.
bool split_origin_form(std::string_view target, RequestHead* head);

// Gives a head whose path is set (by split_origin_form, or by parse_request from an absolute form) the target
// that goes upstream: origin form, with a normal path and the query as received. The views of target, path
// and query then point into `storage` where something had to be rewritten. False: refuse with 400.
bool normalise_target(PathNormalisation level, std::string* storage, RequestHead* head);

}  // namespace weft::proxy
