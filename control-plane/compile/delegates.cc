// See delegates.h.
#include "control-plane/compile/delegates.h"

#include <algorithm>

#include "base/strings.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/parse_http_match.h"

namespace weft::control_plane {
namespace {

using mesh::v1::HeaderMatch;
using mesh::v1::HttpMatch;
using mesh::v1::HttpRoute;
using mesh::v1::StringMatch;

// True when `leaf` can hold only where `root` does.
bool is_part(const StringMatch& root, const StringMatch& leaf) {
  if (root.has_present()) return true;
  if (leaf.has_present() || root.has_regex() || leaf.has_regex()) return false;
  if (root.has_exact()) return leaf.has_exact() && leaf.exact() == root.exact();
  const std::string& text = leaf.has_exact() ? leaf.exact() : leaf.prefix();
  return text.starts_with(root.prefix());
}

// What one of the two leaves open the other decides.
bool merge_string(const HttpMatch& root, const HttpMatch& leaf, bool (HttpMatch::*has)() const,
                  const StringMatch& (HttpMatch::*get)() const, StringMatch* (HttpMatch::*mutable_field)(),
                  HttpMatch* out) {
  if (!(root.*has)()) return true;
  if (!(leaf.*has)()) {
    *(out->*mutable_field)() = (root.*get)();
    return true;
  }
  return is_part((root.*get)(), (leaf.*get)());
}

using NamedList = google::protobuf::RepeatedPtrField<HeaderMatch>;

bool merge_named(const NamedList& root, const NamedList& leaf, NamedList* out) {
  for (const HeaderMatch& wanted : root) {
    const auto same = [&](const HeaderMatch& other) { return other.name() == wanted.name(); };
    const auto found = std::find_if(leaf.begin(), leaf.end(), same);
    if (found == leaf.end()) {
      *out->Add() = wanted;
    } else if (!is_part(wanted.value(), found->value())) {
      return false;
    }
  }
  return true;
}

bool merge_source(const HttpMatch& root, const HttpMatch& leaf, HttpMatch* out) {
  for (const auto& [key, value] : root.source_labels()) {
    const auto found = leaf.source_labels().find(key);
    if (found != leaf.source_labels().end() && found->second != value) return false;
    (*out->mutable_source_labels())[key] = value;
  }
  if (root.source_namespace().empty()) return true;
  if (!leaf.source_namespace().empty() && leaf.source_namespace() != root.source_namespace()) return false;
  out->set_source_namespace(root.source_namespace());
  return true;
}

std::string joined(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return a.empty() ? b : a;
  return str_cat(a, "-", b);
}

// The matches of both; false when no pair of them fits.
bool merge_matches(const HttpRoute& root, const HttpRoute& leaf, HttpRoute* out) {
  if (root.matches().empty()) return true;
  if (leaf.matches().empty()) {
    *out->mutable_matches() = root.matches();
    return true;
  }
  out->clear_matches();
  for (const HttpMatch& part : leaf.matches()) {
    for (const HttpMatch& whole : root.matches()) {
      HttpMatch merged;
      if (merge_match(whole, part, &merged)) *out->add_matches() = std::move(merged);
    }
  }
  return out->matches_size() > 0;
}

// What the leaf does not say the root says.
void merge_action(const HttpRoute& root, HttpRoute* out) {
  if (!out->has_path_rewrite() && out->authority_rewrite().empty()) {
    if (root.has_path_rewrite()) *out->mutable_path_rewrite() = root.path_rewrite();
    out->set_authority_rewrite(root.authority_rewrite());
  }
  if (!out->has_request_headers() && !out->has_response_headers()) {
    if (root.has_request_headers()) *out->mutable_request_headers() = root.request_headers();
    if (root.has_response_headers()) *out->mutable_response_headers() = root.response_headers();
  }
  if (out->timeout_ms() == 0) out->set_timeout_ms(root.timeout_ms());
  if (!out->has_cors() && root.has_cors()) *out->mutable_cors() = root.cors();
  if (!out->has_retries() && root.has_retries()) *out->mutable_retries() = root.retries();
  if (out->mirrors().empty()) *out->mutable_mirrors() = root.mirrors();
  if (!out->has_fault() && root.has_fault()) *out->mutable_fault() = root.fault();
  // Both must have room.
  for (const mesh::v1::RateLimit& limit : root.rate_limits()) *out->add_rate_limits() = limit;
}

bool is_visible(const VirtualService& leaf, const std::string& ns) {
  if (leaf.hidden) return false;
  const auto& export_to = leaf.routes->export_to();
  return export_to.empty() || std::find(export_to.begin(), export_to.end(), ns) != export_to.end();
}

bool ends_list(const HttpRoute& route) {
  return route.matches().empty() || std::any_of(route.matches().begin(), route.matches().end(),
                                                [](const HttpMatch& m) { return is_catch_all(m); });
}

// nullptr: it is unknown.
const VirtualService* find_delegate(const VirtualService::Delegate& delegate, const Objects& objects) {
  const auto found = objects.find(ObjectKey{"VirtualService", delegate.ns, delegate.name});
  return found == objects.end() ? nullptr : &std::get<VirtualService>(*found->second);
}

class Merger {
 public:
  Merger(const VirtualService& root, const Objects& objects, std::vector<Finding>* findings)
      : root_(root), objects_(objects), findings_(findings) {
    out_ = *root.routes;
    out_.clear_http();
  }

  mesh::v1::RouteSet run() {
    for (int i = 0; i < root_.routes->http_size() && !ended_; ++i) {
      const VirtualService::Delegate& delegate = root_.delegates[static_cast<size_t>(i)];
      if (delegate.name.empty()) {
        add(HttpRoute(root_.routes->http(i)));
      } else {
        take(root_.routes->http(i), delegate);
      }
    }
    return std::move(out_);
  }

 private:
  void add(HttpRoute route) {
    ended_ = ends_list(route);
    *out_.add_http() = std::move(route);
  }

  void take(const HttpRoute& whole, const VirtualService::Delegate& delegate) {
    const VirtualService* leaf = find_delegate(delegate, objects_);
    if (leaf == nullptr || !leaf->is_delegate() || !is_visible(*leaf, root_.meta.ns)) {
      const char* why = leaf == nullptr        ? " is unknown"
                        : !leaf->is_delegate() ? " has hosts of its own"
                                               : " is not exported to this namespace";
      warn(kReferenceMissing, delegate, str_cat("delegate ", delegate.ns, "/", delegate.name, why),
           "its requests are taken by no route: name a VirtualService without hosts");
      return;
    }
    for (const HttpRoute& part : leaf->routes->http()) {
      HttpRoute merged = part;
      if (!merge_matches(whole, part, &merged)) {
        warn(kRouteUnreachable, delegate,
             str_cat("route \"", part.name(), "\" (line ", part.origin().line(), ") of delegate ",
                     delegate.ns, "/", delegate.name, " matches nothing of what is delegated"),
             "match a part of what this route matches, with exact or prefix");
        continue;
      }
      merged.set_name(joined(whole.name(), part.name()));
      merge_action(whole, &merged);
      add(std::move(merged));
      if (ended_) return;
    }
  }

  void warn(const char* code, const VirtualService::Delegate& delegate, std::string message,
            std::string remedy) {
    warn_about(root_.meta, code, delegate.line, delegate.field, std::move(message), std::move(remedy),
               findings_);
  }

  const VirtualService& root_;
  const Objects& objects_;
  std::vector<Finding>* findings_;
  mesh::v1::RouteSet out_;
  bool ended_ = false;
};

}  // namespace

bool merge_match(const HttpMatch& root, const HttpMatch& leaf, HttpMatch* out) {
  *out = leaf;
  out->set_name(joined(root.name(), leaf.name()));
  if (root.has_uri() && leaf.has_uri() && root.ignore_uri_case() != leaf.ignore_uri_case()) return false;
  if (!leaf.has_uri()) out->set_ignore_uri_case(root.ignore_uri_case());
  if (root.port() != 0 && leaf.port() != 0 && root.port() != leaf.port()) return false;
  if (leaf.port() == 0) out->set_port(root.port());
  if (leaf.gateways().empty()) *out->mutable_gateways() = root.gateways();
  return merge_string(root, leaf, &HttpMatch::has_uri, &HttpMatch::uri, &HttpMatch::mutable_uri, out) &&
         merge_string(root, leaf, &HttpMatch::has_method, &HttpMatch::method, &HttpMatch::mutable_method,
                      out) &&
         merge_string(root, leaf, &HttpMatch::has_scheme, &HttpMatch::scheme, &HttpMatch::mutable_scheme,
                      out) &&
         merge_string(root, leaf, &HttpMatch::has_authority, &HttpMatch::authority,
                      &HttpMatch::mutable_authority, out) &&
         merge_named(root.headers(), leaf.headers(), out->mutable_headers()) &&
         merge_named(root.without_headers(), leaf.without_headers(), out->mutable_without_headers()) &&
         merge_named(root.query_params(), leaf.query_params(), out->mutable_query_params()) &&
         merge_source(root, leaf, out);
}

void add_delegating(const VirtualService& root, const Objects& objects, Inputs* out) {
  out->object(root.meta);
  if (!root.has_delegates) return;
  for (const VirtualService::Delegate& delegate : root.delegates) {
    if (delegate.name.empty()) continue;
    const VirtualService* leaf = find_delegate(delegate, objects);
    out->object(leaf == nullptr ? nullptr : &leaf->meta);
  }
}

mesh::v1::RouteSet with_delegates(const VirtualService& root, const Objects& objects,
                                  std::vector<Finding>* findings) {
  return Merger(root, objects, findings).run();
}

}  // namespace weft::control_plane
