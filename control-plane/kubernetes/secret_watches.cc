// See secret_watches.h.
#include "control-plane/kubernetes/secret_watches.h"

#include <algorithm>
#include <variant>

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

// Of a Secret that is named: else its gateway is told without it.
constexpr std::chrono::seconds kPatience(1);
constexpr std::chrono::seconds kFirstPatience(30);
// Each is a request that stays open, and whoever may write a Gateway or DestinationRule names as many as he
// likes.
constexpr size_t kMostWatches = 1000;
// RFC 1123, as the API server has it: nothing else may get into a path.
constexpr size_t kMaxNameBytes = 253;

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= kMaxNameBytes && absl::ascii_isalnum(text.front()) &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '.';
         });
}

std::set<std::pair<std::string, std::string>> names_in(const ParsedFile& file) {
  std::set<std::pair<std::string, std::string>> out;
  const auto add = [&out](const std::string& ns, const std::string& name) {
    if (is_name(ns) && is_name(name)) out.emplace(ns, name);
  };
  for (const Object& object : file.objects) {
    if (const auto* rule = std::get_if<DestinationRule>(&object)) {
      for (const DestinationRule::TlsUse& use : rule->tls) {
        const std::string& credential = use.tls.credential_name();
        if (credential.empty()) continue;
        add(rule->meta.ns, credential);
        add(rule->meta.ns, str_cat(credential, "-cacert"));
      }
    }
    const auto* gateway = std::get_if<Gateway>(&object);
    if (gateway == nullptr) continue;
    for (const Gateway::Listener& listener : gateway->listeners) {
      if (!listener.tls) continue;
      for (const TlsTermination::SecretRef& ref : listener.tls->certificates) {
        add(ref.ns, ref.name);
        // Where Istio looks for the authority of clients too.
        if (listener.tls->mutual && !listener.tls->ca) add(ref.ns, str_cat(ref.name, "-cacert"));
      }
      if (listener.tls->ca) add(listener.tls->ca->ns, listener.tls->ca->name);
    }
  }
  return out;
}

std::string place_of(const std::string& ns, const std::string& name) {
  return str_cat("Secret ", ns, "/", name);
}

}  // namespace

SecretWatches::Watch::Watch(const Name& name, ApiClient& client, const ReflectorTiming& timing,
                            std::minstd_rand& random, Clock::time_point now)
    : ns(name.first),
      selector(str_cat("fieldSelector=metadata.name%3D", name.second)),
      kind(secret_kind(ns, selector)),
      reflector(kind, client, timing, random),
      began(now) {}

void SecretWatches::note(Clock::time_point now, Store::Changes* changes) {
  for (const auto& [place, file] : *changes) {
    // One that is refused names what it named before.
    if (file && file->objects.empty()) continue;
    std::set<Name> names = file ? names_in(*file) : std::set<Name>();
    if (names.empty())
      named_.erase(place);
    else
      named_[place] = std::move(names);
  }
  std::set<Name> all;
  for (const auto& [place, names] : named_) all.insert(names.begin(), names.end());
  std::erase_if(watches_, [&](const auto& entry) {
    if (all.contains(entry.first)) return false;
    if (entry.second->reflector.counts().objects > 0)
      changes->insert_or_assign(place_of(entry.first.first, entry.first.second), std::nullopt);
    return true;
  });
  // What is watched stays so, whoever names more.
  unwatched_ = 0;
  for (const Name& name : all) {
    if (watches_.contains(name)) continue;
    if (watches_.size() >= kMostWatches)
      ++unwatched_;
    else
      watches_[name] = std::make_unique<Watch>(name, client_, timing_, random_, now);
  }
}

std::optional<std::string> SecretWatches::problem() const {
  if (unwatched_ == 0) return std::nullopt;
  return str_cat("Gateways and DestinationRules name ", watches_.size() + unwatched_, " Secrets, of which ",
                 kMostWatches, " are read (next: name fewer: several hosts can share a certificate)");
}

void SecretWatches::tick(Clock::time_point now) {
  for (const auto& [name, watch] : watches_) watch->reflector.tick(now);
}

SecretWatches::Clock::time_point SecretWatches::due() const {
  Clock::time_point out = Clock::time_point::max();
  for (const auto& [name, watch] : watches_) out = std::min(out, watch->reflector.due());
  return out;
}

SecretWatches::Clock::time_point SecretWatches::awaited(bool first) const {
  Clock::time_point out = Clock::time_point::min();
  for (const auto& [name, watch] : watches_) {
    const Reflector& reflector = watch->reflector;
    const bool open = first ? !reflector.answered() : !reflector.synced() && !reflector.trouble();
    if (open) out = std::max(out, watch->began + (first ? kFirstPatience : kPatience));
  }
  return out;
}

bool SecretWatches::changed() const {
  return std::any_of(watches_.begin(), watches_.end(), [](const auto& entry) {
    return entry.second->reflector.settled() && entry.second->reflector.changed();
  });
}

void SecretWatches::take(Store::Changes* changes) {
  for (const auto& [name, watch] : watches_) {
    if (!watch->reflector.settled()) continue;
    for (auto& [place, file] : watch->reflector.take()) changes->insert_or_assign(place, std::move(file));
  }
}

std::vector<const Reflector*> SecretWatches::reflectors() const {
  std::vector<const Reflector*> out;
  for (const auto& [name, watch] : watches_) out.push_back(&watch->reflector);
  return out;
}

std::vector<SourceReport::Kind> SecretWatches::counts() const {
  if (watches_.empty()) return {};
  SourceReport::Kind sum{.kind = "Secret"};
  for (const auto& [name, watch] : watches_) sum.add(watch->reflector.counts());
  return {sum};
}

}  // namespace weft::control_plane
