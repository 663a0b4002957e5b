// Path normalisation of path.h: a scan that finds most paths normal, and three passes over a copy for the
// rest.
#include "userspace-proxy/http/path.h"

#include <algorithm>

namespace weft::proxy {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986 §2.3.
bool is_unreserved(char c) {
  const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alnum || c == '-' || c == '.' || c == '_' || c == '~';
}

// The byte that the escape at `at` stands for; -1 when it is no escape.
int escaped_byte(std::string_view path, size_t at) {
  if (at + 2 >= path.size()) return -1;
  const int high = hex_value(path[at + 1]), low = hex_value(path[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// What an escape becomes: '\0' to leave it as it is.
char decoded(char byte, PathNormalisation level) {
  if (is_unreserved(byte)) return byte;
  const bool slash = byte == '/' || byte == '\\';
  return slash && level == PathNormalisation::kDecodeAndMergeSlashes ? '/' : '\0';
}

bool is_dot_segment(std::string_view segment) { return segment == "." || segment == ".."; }

std::string_view segment_at(std::string_view path, size_t begin) {
  return path.substr(begin, path.find('/', begin) - begin);
}

PathResult scan(std::string_view path, PathNormalisation level) {
  PathResult result = PathResult::kUnchanged;
  for (size_t i = 0; i < path.size(); ++i) {
    switch (path[i]) {
      case '%': {
        const int byte = escaped_byte(path, i);
        if (byte <= 0) return PathResult::kRefused;
        if (decoded(static_cast<char>(byte), level) != '\0') result = PathResult::kRewritten;
        break;
      }
      case '\\':
        result = PathResult::kRewritten;
        break;
      case '/':
        if (level >= PathNormalisation::kMergeSlashes && i > 0 && path[i - 1] == '/')
          result = PathResult::kRewritten;
        break;
      case '.':
        if (i > 0 && path[i - 1] == '/' && is_dot_segment(segment_at(path, i)))
          result = PathResult::kRewritten;
        break;
      default:
        break;
    }
  }
  return result;
}

void decode(std::string_view path, PathNormalisation level, std::string* out) {
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c != '%') {
      out->push_back(c == '\\' ? '/' : c);
    } else if (const char plain = decoded(static_cast<char>(escaped_byte(path, i)), level); plain != '\0') {
      out->push_back(plain);
      i += 2;
    } else {
      out->append(path.substr(i, 3));
      i += 2;
    }
  }
}

// RFC 3986 §5.2.4, in place. ".." takes the segment before it away, also an empty one, and stops at the root.
void remove_dot_segments(std::string* path) {
  size_t written = 1, read = 1;
  while (true) {
    const size_t slash = path->find('/', read);
    const bool last = slash == std::string::npos;
    const size_t length = (last ? path->size() : slash) - read;
    const std::string_view segment = std::string_view(*path).substr(read, length);
    if (segment == "..") {
      if (written > 1) written = path->rfind('/', written - 2) + 1;
    } else if (segment != ".") {
      std::copy_n(path->begin() + static_cast<std::ptrdiff_t>(read), length,
                  path->begin() + static_cast<std::ptrdiff_t>(written));
      written += length;
      if (!last) (*path)[written++] = '/';
    }
    if (last) break;
    read = slash + 1;
  }
  path->resize(written);
}

void merge_slashes(std::string* path) {
  const auto both = [](char a, char b) { return a == '/' && b == '/'; };
  path->erase(std::unique(path->begin(), path->end(), both), path->end());
}

}  // namespace

std::optional<PathNormalisation> parse_path_normalisation(std::string_view word) {
  if (word == "none") return PathNormalisation::kNone;
  if (word == "base") return PathNormalisation::kBase;
  if (word == "merge-slashes") return PathNormalisation::kMergeSlashes;
  if (word == "decode-and-merge-slashes") return PathNormalisation::kDecodeAndMergeSlashes;
  return std::nullopt;
}

PathResult normalise_path(std::string_view path, PathNormalisation level, std::string* out) {
  if (level == PathNormalisation::kNone || path.empty() || path.front() != '/') return PathResult::kUnchanged;
  const PathResult result = scan(path, level);
  if (result != PathResult::kRewritten) return result;
  out->clear();
  decode(path, level, out);
  remove_dot_segments(out);
  if (level >= PathNormalisation::kMergeSlashes) merge_slashes(out);
  return PathResult::kRewritten;
}

bool read_path(std::string_view path, PathReading reading, std::string* out) {
  if (scan(path, PathNormalisation::kBase) == PathResult::kRefused) return false;
  out->clear();
  if (!path.starts_with('/')) {
    out->assign(path);
    return true;
  }
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\') {
      out->push_back(reading.slashes == SlashReading::kSlash ? '\\' : '/');
    } else if (path[i] != '%') {
      out->push_back(path[i]);
    } else {
      const char byte = static_cast<char>(escaped_byte(path, i));
      const bool slash = byte == '/' || byte == '\\';
      if (!slash) {
        out->push_back(byte);
      } else if (reading.slashes == SlashReading::kEscapedToo) {
        out->push_back('/');
      } else {
        out->append(path.substr(i, 3));
      }
      i += 2;
    }
  }
  if (reading.merges_first) merge_slashes(out);
  remove_dot_segments(out);
  merge_slashes(out);
  return true;
}

std::string plain_path_text(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int byte = text[i] == '%' ? escaped_byte(text, i) : -1;
    const char c = byte > 0 ? static_cast<char>(byte) : text[i];
    out.push_back(c == '\\' ? '/' : c);
    if (byte > 0) i += 2;
  }
  merge_slashes(&out);
  return out;
}

bool is_target_text(std::string_view target) {
  bool bad = target.empty();
  // No early end: the compiler makes one wide comparison of it.
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    bad |= byte <= 0x20 || byte >= 0x7f || c == '#';
  }
  return !bad;
}

bool split_origin_form(std::string_view target, RequestHead* head) {
  head->path = head->query = {};
  if (!is_target_text(target) || target.front() != '/') return false;
  const size_t question = target.find('?');
  head->path = target.substr(0, question);
  if (question != std::string_view::npos) head->query = target.substr(question + 1);
  return true;
}

bool normalise_target(PathNormalisation level, std::string* storage, RequestHead* head) {
  // CONNECT: a tunnel has none.
  if (head->path.empty()) return true;
  const PathResult result = normalise_path(head->path, level, storage);
  if (result == PathResult::kRefused) return false;
  const bool absolute = head->target.data() != head->path.data();
  if (result == PathResult::kUnchanged && !absolute) return true;
  if (result == PathResult::kUnchanged) storage->assign(head->path);
  const size_t path_size = storage->size();
  const size_t question = head->target.find('?');
  if (question != std::string_view::npos) storage->append(head->target.substr(question));
  head->target = *storage;
  head->path = head->target.substr(0, path_size);
  head->query = head->target.substr(std::min(path_size + 1, head->target.size()));
  return true;
}

}  // namespace weft::proxy
