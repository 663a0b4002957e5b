// The reader of framing_reader.h: recursive descent over the grammar of RFC 9112, nothing shared with the
// code under test.
#include "tests/unit/proxy-engine/framing_reader.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace weft::proxy {
namespace {

enum class Read : unsigned char { kDone, kMore, kBad };

struct Field {
  std::string name;  // lower case
  std::string value;
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

bool is_token(std::string_view text) {
  const auto good = [](unsigned char c) {
    return c < 0x80 &&
           (std::isalnum(c) != 0 ||
            std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos);
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), good);
}

// Takes one line and its CRLF off the front.
Read take_line(std::string_view* in, std::string_view* line) {
  for (size_t i = 0; i < in->size(); ++i) {
    const auto byte = static_cast<unsigned char>((*in)[i]);
    if (byte == '\r') {
      if (i + 1 == in->size()) return Read::kMore;
      if ((*in)[i + 1] != '\n') return Read::kBad;
      *line = in->substr(0, i);
      in->remove_prefix(i + 2);
      return Read::kDone;
    }
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return Read::kBad;
  }
  return Read::kMore;
}

std::optional<Field> parse_field(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return Field{lower(line.substr(0, colon)), std::string(trimmed(line.substr(colon + 1)))};
}

Read take_fields(std::string_view* in, std::vector<Field>* fields) {
  while (true) {
    std::string_view line;
    if (const Read read = take_line(in, &line); read != Read::kDone) return read;
    if (line.empty()) return Read::kDone;
    const std::optional<Field> field = parse_field(line);
    if (!field) return Read::kBad;
    fields->push_back(*field);
  }
}

std::vector<std::string> values_of(const std::vector<Field>& fields, std::string_view name) {
  std::vector<std::string> out;
  for (const Field& field : fields) {
    if (field.name == name) out.push_back(field.value);
  }
  return out;
}

Read take_chunks(std::string_view* in, std::string* body) {
  while (true) {
    std::string_view line;
    if (const Read read = take_line(in, &line); read != Read::kDone) return read;
    const std::string_view digits = line.substr(0, line.find(';'));
    if (digits.empty() || digits.size() > 15) return Read::kBad;
    size_t size = 0;
    for (const unsigned char c : digits) {
      if (std::isxdigit(c) == 0) return Read::kBad;
      size = size * 16 + static_cast<size_t>(std::isdigit(c) != 0 ? c - '0' : std::tolower(c) - 'a' + 10);
    }
    if (size == 0) break;
    if (in->size() < size) return Read::kMore;
    body->append(in->substr(0, size));
    in->remove_prefix(size);
    if (in->empty() || *in == "\r") return Read::kMore;
    if (in->substr(0, 2) != "\r\n") return Read::kBad;
    in->remove_prefix(2);
  }
  std::vector<Field> trailers;
  return take_fields(in, &trailers);
}

Read take_body(std::string_view* in, const std::vector<Field>& fields, char minor, std::string* body) {
  const auto lengths = values_of(fields, "content-length");
  const auto codings = values_of(fields, "transfer-encoding");
  if (lengths.size() + codings.size() > 1) return Read::kBad;
  if (!codings.empty()) {
    if (minor == '0' || lower(codings.front()) != "chunked") return Read::kBad;
    return take_chunks(in, body);
  }
  if (lengths.empty()) return Read::kDone;
  const std::string& digits = lengths.front();
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return Read::kBad;
  const std::string significant = digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
  if (significant.size() > 18) return Read::kBad;
  const size_t length = significant.empty() ? 0 : std::stoull(significant);
  if (in->size() < length) return Read::kMore;
  body->assign(in->substr(0, length));
  in->remove_prefix(length);
  return Read::kDone;
}

bool says(const std::vector<Field>& fields, std::string_view word) {
  for (const std::string& value : values_of(fields, "connection")) {
    const std::string list = lower(value);
    for (size_t at = 0; at <= list.size();) {
      const size_t comma = std::min(list.find(',', at), list.size());
      if (trimmed(std::string_view(list).substr(at, comma - at)) == word) return true;
      at = comma + 1;
    }
  }
  return false;
}

bool parse_request_line(std::string_view line, FramedRequest* request, char* minor) {
  const size_t first = line.find(' '), second = line.find(' ', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return false;
  request->method = line.substr(0, first);
  request->target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return false;
  *minor = version.back();
  const auto visible = [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '#'; };
  return is_token(request->method) && !request->target.empty() &&
         std::all_of(request->target.begin(), request->target.end(), visible);
}

Read take_request(std::string_view* in, FramedRequest* request) {
  std::string_view line;
  do {
    if (const Read read = take_line(in, &line); read != Read::kDone) return read;
  } while (line.empty());
  char minor = '1';
  if (!parse_request_line(line, request, &minor)) return Read::kBad;
  std::vector<Field> fields;
  if (const Read read = take_fields(in, &fields); read != Read::kDone) return read;
  const size_t hosts = values_of(fields, "host").size();
  if (hosts > 1 || (hosts == 0 && minor == '1')) return Read::kBad;
  request->last = says(fields, "close") || (minor == '0' && !says(fields, "keep-alive"));
  return take_body(in, fields, minor, &request->body);
}

}  // namespace

FramedStream read_framed(std::string_view bytes) {
  FramedStream out;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    FramedRequest request;
    const Read read = take_request(&rest, &request);
    if (read != Read::kDone) {
      out.end = read == Read::kMore ? FramedStream::End::kIncomplete : FramedStream::End::kBad;
      return out;
    }
    out.consumed = bytes.size() - rest.size();
    out.requests.push_back(std::move(request));
    if (out.requests.back().last) return out;
  }
  return out;
}

}  // namespace weft::proxy
