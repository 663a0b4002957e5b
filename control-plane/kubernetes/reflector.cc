// See reflector.h. What the server does, and what follows:
//
//   a list ends                      watch from its version
//   a streamed list is refused,
//   or not brought to its end        list in pages from now on
//   a watch ends                     watch from the last version; after a pause when it was short
//   410, as status or event          list anew; what is known stays until the list is complete
//   404                              the next version of the API; after the last: the kind is missing, look
//                                    again; its objects go when it said nothing else for a minute
//   429, 503 with Retry-After        wait that long at least
//   401, 403 of a kind that may be
//   refused, three times in a row    wait for minutes
//   anything else                    wait and do the same again: no list because a watch failed
#include "control-plane/kubernetes/reflector.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/kubernetes/server_text.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

constexpr int kPageObjects = 500;
// An event is an object and what surrounds it.
constexpr size_t kMaxEventBytes = kMaxObjectBytes;
// A server that has just started may not know its own CRDs: no kind is missing before it says so for the
// third time, and none that had objects before gone_for_sure.
constexpr uint32_t kNotFoundForSure = 3;
// A server that has just started, or a token that is being renewed, may refuse once or twice.
constexpr uint32_t kRefusedForSure = 3;
constexpr size_t kMaxTypeBytes = 32;
constexpr std::chrono::seconds kWatchGrace(30);
constexpr std::chrono::minutes kLongestRetryAfter(5);
constexpr char kInitialEventsEnd[] = "k8s.io/initial-events-end";

// Tokens are base64 today; nothing promises that.
std::string escaped(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
    if (plain) {
      out.push_back(static_cast<char>(c));
    } else {
      out.append({'%', kDigits[c >> 4], kDigits[c & 15]});
    }
  }
  return out;
}

// Of a server that does not stream lists: too old, switched off, or without the storage for it.
bool refuses_streams(const ApiEnd& end) {
  constexpr std::array<long, 5> kRefusals = {400, 405, 422, 500, 501};
  return std::find(kRefusals.begin(), kRefusals.end(), end.status) != kRefusals.end();
}

absl::Status over_limit(std::string_view what, size_t limit) {
  return absl::ResourceExhaustedError(str_cat(what, " over the limit of ", limit, " bytes"));
}

std::string not_read_text(const absl::Status& why) {
  return str_cat("an object could not be read: ", why.message());
}

ObjectIdentity identity_of(std::string_view text, bool event) {
  JsonIdentity identity(event);
  identity.feed(text);
  return identity.found();
}

bool ends_initial_events(const YamlNode& object) {
  const YamlNode* metadata = object.find("metadata");
  const YamlNode* annotations = metadata == nullptr ? nullptr : metadata->find("annotations");
  const YamlNode* end = annotations == nullptr ? nullptr : annotations->find(kInitialEventsEnd);
  return end != nullptr && end->scalar == "true";
}

}  // namespace

Reflector::Reflector(const KubernetesKind& kind, ApiClient& client, const ReflectorTiming& timing,
                     std::minstd_rand& random)
    : kind_(kind),
      client_(client),
      timing_(timing),
      random_(random),
      retry_(timing.first_retry, timing.longest_retry),
      look_(timing.first_look, timing.longest_look),
      relist_(timing.first_retry, timing.longest_retry),
      objects_(kind) {
  for (const std::string_view path : kind_.left_out) event_paths_.push_back(str_cat("object.", path));
  left_out_of_events_.assign(event_paths_.begin(), event_paths_.end());
  counts_.kind = kind_.name;
}

Reflector::~Reflector() {
  if (request_) client_.cancel(*request_);
}

SourceReport::Kind Reflector::counts() const {
  SourceReport::Kind out = counts_;
  out.objects = objects_.size();
  out.parsed = objects_.parsed();
  return out;
}

void Reflector::tick(Clock::time_point now) {
  if (now < due_) return;
  if (state_ == State::kWaiting) return begin();
  // A streamed list that does not say that it is complete: this server does not mean it.
  ++counts_.errors;
  client_.cancel(*request_);
  request_.reset();
  streams_lists_ = false;
  begin();
}

void Reflector::begin() {
  if (!resource_version_.empty()) return begin_watch(false);
  objects_.begin_list();
  list_again_ = false;
  if (streams_lists_) return begin_watch(true);
  begin_page();
}

void Reflector::begin_page() {
  std::string path = str_cat(kind_.path(version_), "?limit=", kPageObjects);
  if (!continue_.empty()) str_append(&path, "&continue=", escaped(continue_));
  if (!kind_.selector.empty()) str_append(&path, "&", kind_.selector);
  send(path, State::kListing, timing_.list_deadline, timing_.list_silence, JsonSplitter::Form::kList);
}

void Reflector::begin_watch(bool with_list) {
  std::uniform_int_distribution<int64_t> spread(timing_.watch.count(), 2 * timing_.watch.count());
  const std::chrono::seconds length(spread(random_));
  std::string path =
      str_cat(kind_.path(version_), "?watch=1&allowWatchBookmarks=true&timeoutSeconds=", length.count());
  if (with_list)
    str_append(&path, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
  else
    str_append(&path, "&resourceVersion=", escaped(resource_version_));
  if (!kind_.selector.empty()) str_append(&path, "&", kind_.selector);
  // A watch may be silent for all its life; a server that vanished is found out by TCP.
  heard_event_ = false;
  send(path, with_list ? State::kStreaming : State::kWatching, length + kWatchGrace, std::chrono::seconds(0),
       JsonSplitter::Form::kStream);
  ++counts_.watches;
}

void Reflector::send(const std::string& path, State state, std::chrono::milliseconds deadline,
                     std::chrono::seconds silence, JsonSplitter::Form form) {
  state_ = state;
  verdict_.reset();
  watch_began_.reset();
  const bool list = form == JsonSplitter::Form::kList;
  splitter_ = std::make_unique<JsonSplitter>(form, list ? kMaxObjectBytes : kMaxEventBytes,
                                             [this, list](std::string_view text) {
                                               if (list)
                                                 item(text);
                                               else
                                                 event(text);
                                             });
  request_ = client_.start({.path = path, .deadline = deadline, .silence = silence}, this);
  // Other requests end by themselves.
  due_ = Clock::time_point::max();
  if (state != State::kStreaming) return;
  stream_limit_ = Clock::now() + timing_.list_deadline;
  due_ = std::min(Clock::now() + timing_.list_silence, stream_limit_);
}

void Reflector::accepted() {
  if (state_ != State::kWatching) return;
  watch_began_ = Clock::now();
  not_found_in_a_row_ = 0;
  trouble_.reset();
}

bool Reflector::body(std::string_view bytes) {
  if (state_ == State::kStreaming) due_ = std::min(Clock::now() + timing_.list_silence, stream_limit_);
  splitter_->feed(bytes);
  if (splitter_->broken() && !verdict_)
    verdict_ = ApiEnd{.status = 0, .message = "the answer is not JSON", .retry_after = std::nullopt};
  return !verdict_.has_value();
}

void Reflector::item(std::string_view text) {
  if (text.empty()) return too_large(splitter_->too_large(), over_limit("an object", kMaxObjectBytes));
  absl::StatusOr<YamlNode> object = parse_json(text, kind_.left_out);
  if (absl::IsResourceExhausted(object.status())) return too_large(identity_of(text, false), object.status());
  if (!object.ok()) return not_read(object.status());
  if (!objects_.put(*std::move(object), kind_.api_version(version_)))
    not_read(absl::InvalidArgumentError("an object without a name"));
}

void Reflector::not_read(const absl::Status& why) {
  ++counts_.errors;
  list_again_ = true;
  objects_.unreadable(absl::IsResourceExhausted(why) ? kOverLimit : kYamlSyntax, not_read_text(why));
}

void Reflector::too_large(const ObjectIdentity& object, const absl::Status& why) {
  if (!objects_.put_too_large(object, not_read_text(why))) return not_read(why);
  ++counts_.errors;
}

void Reflector::large_event(const ObjectIdentity& object, const absl::Status& why) {
  if (object.type.empty() || object.name.empty()) return not_read(why);
  heard_event_ = true;
  if (state_ == State::kWatching) useful();
  if (object.type == "DELETED")
    objects_.remove(object);
  else
    too_large(object, why);
  if (state_ == State::kWatching && !object.version.empty()) resource_version_ = object.version;
}

void Reflector::event(std::string_view text) {
  // The rest of a request that has its verdict.
  if (verdict_) return;
  if (text.empty()) return large_event(splitter_->too_large(), over_limit("an event", kMaxEventBytes));
  absl::StatusOr<YamlNode> parsed = parse_json(text, left_out_of_events_);
  if (absl::IsResourceExhausted(parsed.status()))
    return large_event(identity_of(text, true), parsed.status());
  if (!parsed.ok()) return not_read(parsed.status());
  const std::string type(json_text(*parsed, "type"));
  const auto object = std::find_if(parsed->fields.begin(), parsed->fields.end(),
                                   [](const YamlField& field) { return field.name == "object"; });
  if (object == parsed->fields.end())
    return not_read(absl::InvalidArgumentError("an event without an object"));
  if (type == "ERROR") return error_event(object->value);
  heard_event_ = true;
  if (state_ == State::kWatching) useful();
  if (type == "BOOKMARK") return bookmark(object->value);
  const std::string version(json_text(object->value, "metadata.resourceVersion"));
  if (type == "DELETED") {
    objects_.remove(object->value);
  } else if (type != "ADDED" && type != "MODIFIED") {
    return not_read(
        absl::InvalidArgumentError(str_cat("an event of type \"", server_text(type, kMaxTypeBytes), "\"")));
  } else if (!objects_.put(std::move(object->value), kind_.api_version(version_))) {
    return not_read(absl::InvalidArgumentError("an object without a name"));
  }
  // Those of a streamed list come in any order.
  if (state_ == State::kWatching && !version.empty()) resource_version_ = version;
}

void Reflector::bookmark(const YamlNode& object) {
  const std::string version(json_text(object, "metadata.resourceVersion"));
  if (version.empty()) return;
  if (state_ == State::kWatching) {
    resource_version_ = version;
  } else if (ends_initial_events(object)) {
    state_ = State::kWatching;
    due_ = Clock::time_point::max();
    watch_began_ = Clock::now();
    list_complete(version);
  }
}

void Reflector::error_event(const YamlNode& status) {
  const auto code = parse_integer<long>(json_text(status, "code"));
  verdict_ = ApiEnd{.status = code.value_or(500),
                    .message = server_text(json_text(status, "message")),
                    .retry_after = std::nullopt};
  if (verdict_->message.empty()) verdict_->message = "the server ended the watch with an error";
}

void Reflector::ended(const ApiEnd& reported) {
  request_.reset();
  const ApiEnd end = verdict_.value_or(reported);
  const State was = std::exchange(state_, State::kWaiting);
  if (end.status != 404) not_found_in_a_row_ = 0;
  const bool refused = end.status == 401 || end.status == 403;
  refused_in_a_row_ = refused ? refused_in_a_row_ + 1 : 0;
  if (watched_long()) useful();
  if (end.ok()) {
    if (was == State::kListing) return page_ended();
    if (was == State::kWatching) return watch_ended();
    streams_lists_ = false;
    return failed({.status = 0, .message = "the streamed list ended half-way", .retry_after = std::nullopt});
  }
  if (end.status == 410) return gone();
  if (end.status == 404) return not_found();
  if (was == State::kStreaming && refuses_streams(end)) {
    streams_lists_ = false;
    return begin();
  }
  failed(end);
}

void Reflector::page_ended() {
  absl::StatusOr<YamlNode> rest = parse_json(splitter_->rest());
  if (!rest.ok() || rest->find("items") == nullptr || json_text(*rest, "metadata.resourceVersion").empty()) {
    return failed({.status = 0,
                   .message = str_cat("the list of ", kind_.plural, " is not complete or no list"),
                   .retry_after = std::nullopt});
  }
  continue_ = json_text(*rest, "metadata.continue");
  if (!continue_.empty()) return begin_page();
  list_complete(std::string(json_text(*rest, "metadata.resourceVersion")));
  begin_watch(false);
}

void Reflector::list_complete(std::string version) {
  ++counts_.lists;
  objects_.end_list();
  resource_version_ = std::move(version);
  synced_ = true;
  not_found_in_a_row_ = 0;
  versions_not_found_ = 0;
  look_.reset();
  trouble_.reset();
}

bool Reflector::watched_long() const {
  return watch_began_ && Clock::now() - *watch_began_ >= timing_.short_watch;
}

// The server answers as it should: what failed before counts no more.
void Reflector::useful() {
  retry_.reset();
  relist_.reset();
  gone_before_ = false;
}

void Reflector::watch_ended() {
  const bool lived = heard_event_ || watched_long();
  if (lived) useful();
  // What could not be read may be readable now, or gone.
  if (list_again_) forget_version();
  if (lived && !list_again_) return begin();
  wait(retry_.next(random_));
}

void Reflector::forget_version() {
  resource_version_.clear();
  continue_.clear();
}

void Reflector::gone() {
  ++counts_.relists;
  forget_version();
  // A server that forgets faster than it lists would be asked without end.
  if (!std::exchange(gone_before_, true)) return begin();
  wait(relist_.next(random_));
}

void Reflector::not_found() {
  forget_version();
  version_ = (version_ + 1) % kind_.versions.size();
  if (++versions_not_found_ < kind_.versions.size()) return begin();
  versions_not_found_ = 0;
  if (!kind_.may_be_missing) {
    return failed({.status = 404,
                   .message = str_cat("the server knows no ", kind_.resource()),
                   .retry_after = std::nullopt});
  }
  if (not_found_in_a_row_++ == 0) not_found_since_ = Clock::now();
  const bool often = not_found_in_a_row_ >= kNotFoundForSure;
  const bool sure = objects_.size() == 0 ? synced_ || often
                                         : often && Clock::now() - not_found_since_ >= timing_.gone_for_sure;
  if (sure) {
    objects_.remove_all();
    objects_.begin_list();
    objects_.end_list();
    synced_ = true;
    trouble_.reset();
  } else if (objects_.size() > 0) {
    note_trouble({.status = 404,
                  .message = str_cat("the server knows no ", kind_.resource()),
                  .retry_after = std::nullopt});
  }
  wait(look_.next(random_));
}

void Reflector::failed(const ApiEnd& end) {
  ++counts_.errors;
  note_trouble(end);
  // A list that broke off begins anew.
  if (resource_version_.empty()) continue_.clear();
  std::chrono::milliseconds delay = retry_.next(random_);
  if (kind_.may_be_refused && refused_in_a_row_ >= kRefusedForSure) {
    const int64_t pause = timing_.refused_retry.count();
    delay =
        std::chrono::milliseconds(std::uniform_int_distribution<int64_t>(pause, pause + pause / 2)(random_));
  }
  if (end.retry_after) {
    const std::chrono::milliseconds asked =
        std::min<std::chrono::milliseconds>(*end.retry_after, kLongestRetryAfter);
    delay = asked + delay / 2;
  }
  wait(delay);
}

void Reflector::note_trouble(const ApiEnd& end) {
  if (!trouble_) trouble_ = Trouble{.message = end.message, .status = end.status, .since = Clock::now()};
  trouble_->message = end.message;
  trouble_->status = end.status;
}

void Reflector::wait(std::chrono::milliseconds delay) {
  state_ = State::kWaiting;
  due_ = Clock::now() + delay;
}

}  // namespace weft::control_plane
