// FramingRecorder and FramingCheck of framing_check.h.
#include "tests/unit/proxy-engine/framing_check.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kMarker = "GET /marker HTTP/1.1\r\nHost: marker\r\nConnection: close\r\n\r\n";

// Appends what comes next; false at the end of the stream, after a reset or five seconds of silence.
bool receive(const TestConnection& connection, std::string* out, bool* silent) {
  char bytes[16384];
  const ssize_t count = ::recv(connection.fd(), bytes, sizeof(bytes), 0);
  if (count > 0) out->append(bytes, static_cast<size_t>(count));
  *silent = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  return count > 0;
}

struct Answer {
  int status = 0;
  std::optional<size_t> saw;
};

std::optional<size_t> number_after(std::string_view head, std::string_view field) {
  const size_t at = head.find(field);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = head.substr(at + field.size());
  return parse_integer<size_t>(rest.substr(0, rest.find('\r')));
}

// The final responses in `bytes`. Ours have no body, those of proxies have a Content-Length, and none after
// HEAD.
std::vector<Answer> split_answers(std::string_view bytes) {
  std::vector<Answer> out;
  while (bytes.starts_with("HTTP/1.1 ")) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) break;
    // Names in the spelling of whoever passed them on: HAProxy's is lower case.
    std::string head(bytes.substr(0, end + 2));
    absl::AsciiStrToLower(&head);
    bytes.remove_prefix(end + 4);
    const int status = parse_integer<int>(std::string_view(head).substr(9, 3)).value_or(0);
    if (status < 200) continue;
    const size_t body = number_after(head, "content-length: ").value_or(0);
    if (!bytes.starts_with("HTTP/1.1 ")) bytes.remove_prefix(std::min(body, bytes.size()));
    out.push_back(Answer{status, number_after(head, "x-saw: ")});
  }
  return out;
}

// How `sent` arrives when nothing went wrong: in origin form, with a normal path.
FramedRequest arriving(FramedRequest sent) {
  std::string target = sent.target;
  if (target.starts_with("http://")) {
    const size_t path = std::min(target.find_first_of("/?", 7), target.size());
    target.erase(0, path);
    if (target.empty() && sent.method == "OPTIONS") target = "*";
    if (!target.starts_with('/') && target != "*") target.insert(0, "/");
  }
  RequestHead head;
  head.target = target;
  std::string storage;
  if (split_origin_form(target, &head) && normalise_target(PathNormalisation::kBase, &storage, &head)) {
    target = std::string(head.target);
  }
  sent.target = target;
  sent.last = false;
  return sent;
}

// In two segments where the kernel lets it be: the first turn of the proxy may see half a line.
void send_torn(TestConnection& connection, std::string_view stream) {
  const int on = 1;
  setsockopt(connection.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const size_t half = std::accumulate(stream.begin(), stream.end(), size_t{0}) % stream.size();
  if (connection.send(stream.substr(0, half))) connection.send(stream.substr(half));
}

std::string describe(const FramedRequest& request) {
  return str_cat(request.method, " ", request.target, " with ", request.body.size(), " bytes");
}

std::string explain(std::string_view problem, const std::string& stream, const std::string& answer) {
  return str_cat(problem, "\n  sent:     ", absl::CHexEscape(stream),
                 "\n  answered: ", absl::CHexEscape(answer));
}

// The story of one connection: which of the sent requests each answer is for.
std::string compare(const FramedStream& sent, const std::vector<Answer>& answers,
                    const std::vector<FramedRequest>& seen, size_t first) {
  size_t arrived = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].saw) continue;
    if (i >= sent.requests.size()) return "an answer of the upstream to no request";
    if (*answers[i].saw != first + arrived || arrived >= seen.size()) return "an answer to another request";
    const FramedRequest expected = arriving(sent.requests[i]);
    FramedRequest got = seen[arrived++];
    got.last = false;
    if (got != expected) return str_cat(describe(expected), " arrived as ", describe(got));
  }
  if (arrived != seen.size()) return str_cat("nobody was answered for ", describe(seen[arrived]));
  const bool refused = answers.empty() || answers.back().status >= 400;
  if (!refused && answers.size() != sent.requests.size())
    return str_cat(sent.requests.size(), " requests, ", answers.size(), " answers and no refusal");
  if (answers.size() > sent.requests.size() + 1) return "more answers than requests";
  if (answers.empty() && !sent.requests.empty()) return "a sound request was not answered";
  return {};
}

}  // namespace

void FramingRecorder::serve(TestConnection& connection) {
  std::string input;
  bool silent = false;
  while (receive(connection, &input, &silent) || silent) {
    const FramedStream stream = read_framed(input);
    for (const FramedRequest& request : stream.requests) {
      std::unique_lock<std::mutex> lock(mutex_);
      const size_t number = seen_.size();
      seen_.push_back(request);
      lock.unlock();
      connection.send(str_cat("HTTP/1.1 200 OK\r\nX-Saw: ", number, "\r\nContent-Length: 0\r\n\r\n"));
    }
    input.erase(0, stream.consumed);
    if (stream.end == FramedStream::End::kBad) {
      std::lock_guard<std::mutex> lock(mutex_);
      malformed_.push_back(absl::CHexEscape(input));
      return;
    }
  }
}

std::vector<FramedRequest> FramingRecorder::since(size_t first) {
  std::lock_guard<std::mutex> lock(mutex_);
  return {seen_.begin() + static_cast<std::ptrdiff_t>(std::min(first, seen_.size())), seen_.end()};
}

size_t FramingRecorder::count() {
  std::lock_guard<std::mutex> lock(mutex_);
  return seen_.size();
}

std::vector<std::string> FramingRecorder::malformed() {
  std::lock_guard<std::mutex> lock(mutex_);
  return malformed_;
}

std::string FramingCheck::run(const std::string& variant) {
  const std::string stream = str_cat(variant, kMarker);
  const FramedStream sent = read_framed(stream);
  const size_t first = recorder_.count();
  TestConnection client = TestConnection::to(proxy_);
  send_torn(client, stream);
  // A request that is not whole, or not the last, ends only when the client says that nothing follows.
  const bool marked = !sent.requests.empty() && sent.requests.back().last;
  if (sent.end != FramedStream::End::kBad && !marked) client.finish_sending();
  std::string answer;
  bool silent = false;
  while (receive(client, &answer, &silent)) {
  }
  const std::vector<Answer> answers = split_answers(answer);
  const std::vector<FramedRequest> seen = recorder_.since(first);
  const bool whole = sent.end == FramedStream::End::kClean && seen.size() == sent.requests.size();
  ++totals_.variants;
  ++(whole ? totals_.forwarded : totals_.refused);
  if (!whole && sent.end == FramedStream::End::kClean) ++totals_.sound_refused;
  if (silent) return explain("the connection stayed open", stream, answer);
  const std::string problem = compare(sent, answers, seen, first);
  return problem.empty() ? problem : explain(problem, stream, answer);
}

}  // namespace weft::proxy
