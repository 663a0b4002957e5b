// See token_store.h.
#include "control-plane/join/token_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr char kTokens[] = "tokens";
constexpr char kUsed[] = "used";
constexpr char kNodes[] = "nodes";
// Whoever tries a token again hears for so long that it was used.
constexpr absl::Duration kKept = absl::Hours(24);

// Names of files in the folder, sorted; what is being written has a dot in it, and ids have none.
absl::StatusOr<std::vector<std::string>> names_in(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> out;
  // Not by a range: its step throws.
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (!name.ends_with(".new")) out.push_back(name);
  }
  if (error) return errno_status(folder, error.value());
  std::sort(out.begin(), out.end());
  return out;
}

// False: it was not there.
absl::StatusOr<bool> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return errno_status(path, errno);
}

absl::Status damaged(const std::string& path) {
  return absl::DataLossError(str_cat(path, " is damaged; next: remove it, and make another token"));
}

}  // namespace

std::string TokenStore::path(const char* part, const std::string& name) const {
  return str_cat(folder_, "/", part, name.empty() ? "" : "/", name);
}

absl::Status TokenStore::make_folders() const {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(folder_).parent_path(), error);
  for (const std::string& each : {folder_, path(kTokens, ""), path(kUsed, ""), path(kNodes, "")}) {
    if (::mkdir(each.c_str(), 0700) != 0 && errno != EEXIST) return errno_status(each, errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TokenStore::create(const std::string& node, absl::Duration life,
                                               absl::Time now) const {
  if (!is_node_name(node))
    return absl::InvalidArgumentError(
        str_cat("'", node, "' is no name of a node: lower-case letters, digits, '-' and '.'"));
  if (life < kShortest || life > kLongest)
    return absl::InvalidArgumentError(
        str_cat("a token lives for a minute to seven days, and not for ", absl::FormatDuration(life)));
  if (::access(path(kTokens, "").c_str(), F_OK) != 0)
    return absl::FailedPreconditionError(
        str_cat(folder_, " is no folder of nodes that join; next: weft-control --join-dir ", folder_));
  ASSIGN_OR_RETURN(const JoinToken token, make_join_token());
  const Json row{{"node", node}, {"expires", absl::ToUnixSeconds(now + life)}, {"sha256", digest_of(token)}};
  RETURN_IF_ERROR(write_private_file(path(kTokens, token.id), row.dump() + "\n"));
  return to_string(token);
}

absl::StatusOr<TokenStore::Row> TokenStore::read(const char* part, const std::string& id,
                                                 std::string* digest) const {
  const std::string file = path(part, id);
  ASSIGN_OR_RETURN(const std::string text, read_private_file(file));
  const Json row = Json::parse(text, nullptr, false);
  if (!row.is_object() || !row.contains("node") || !row["node"].is_string() || !row.contains("expires") ||
      !row["expires"].is_number_integer() || !row.contains("sha256") || !row["sha256"].is_string())
    return damaged(file);
  if (digest != nullptr) *digest = row["sha256"].get<std::string>();
  Row out{.id = id,
          .node = row["node"].get<std::string>(),
          .expires = absl::FromUnixSeconds(row["expires"].get<int64_t>()),
          .used = part == kUsed};
  if (!is_node_name(out.node)) return damaged(file);
  return out;
}

absl::StatusOr<std::vector<TokenStore::Row>> TokenStore::list() const {
  std::vector<Row> out;
  for (const char* part : {kTokens, kUsed}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(path(part, "")));
    for (const std::string& id : names) {
      absl::StatusOr<Row> row = read(part, id, nullptr);
      // Used or forgotten since the folder was read.
      if (absl::IsNotFound(row.status())) continue;
      RETURN_IF_ERROR(row.status());
      out.push_back(*std::move(row));
    }
  }
  std::sort(out.begin(), out.end(), [](const Row& a, const Row& b) { return a.id < b.id; });
  return out;
}

absl::StatusOr<std::vector<std::string>> TokenStore::nodes() const { return names_in(path(kNodes, "")); }

absl::StatusOr<bool> TokenStore::remove(const std::string& node) const {
  if (!is_node_name(node)) return absl::InvalidArgumentError(str_cat("'", node, "' is no name of a node"));
  // The node first: whatever is wrong with a token, its certificate counts no more.
  const std::string member = path(kNodes, node);
  ASSIGN_OR_RETURN(const bool was_member, remove_file(member));
  const absl::StatusOr<bool> tokens = remove_tokens(node);
  if (!tokens.ok())
    return annotate(str_cat(was_member ? str_cat("node ", node, " is removed") : str_cat(node, " is no node"),
                            ", its tokens may not be"),
                    tokens.status());
  return was_member || *tokens;
}

absl::StatusOr<bool> TokenStore::remove_tokens(const std::string& node) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> ids, names_in(path(kTokens, "")));
  bool any = false;
  absl::Status first;
  for (const std::string& id : ids) {
    const absl::StatusOr<Row> row = read(kTokens, id, nullptr);
    absl::Status status = row.status();
    if (row.ok() && row->node == node) {
      const absl::StatusOr<bool> gone = remove_file(path(kTokens, id));
      any = (gone.ok() && *gone) || any;
      status = gone.status();
    }
    // Used or forgotten since the folder was read.
    if (!absl::IsNotFound(status)) first.Update(status);
  }
  if (!first.ok()) return first;
  return any;
}

TokenStore::Verdict TokenStore::look(const JoinToken& token, const std::string& node, absl::Time now,
                                     std::string* for_node) const {
  std::string digest;
  const char* part = kTokens;
  absl::StatusOr<Row> row = read(part, token.id, &digest);
  if (absl::IsNotFound(row.status())) row = read(part = kUsed, token.id, &digest);
  if (!row.ok()) {
    if (!absl::IsNotFound(row.status()))
      log::error("join_token_not_read", {{"error", row.status().message()}});
    return Verdict::kUnknown;
  }
  if (!has_digest(token, digest)) return Verdict::kUnknown;
  if (row->used) return Verdict::kUsed;
  if (row->expires <= now) return Verdict::kExpired;
  *for_node = row->node;
  return row->node == node ? Verdict::kGood : Verdict::kOtherNode;
}

// First the token, so that who is second never becomes a member by it.
absl::Status TokenStore::use(const JoinToken& token, const std::string& node, absl::Time now) const {
  const std::string unused = path(kTokens, token.id), used = path(kUsed, token.id);
  if (::rename(unused.c_str(), used.c_str()) != 0) {
    if (errno == ENOENT) return absl::AlreadyExistsError("the join token was used already");
    return errno_status("use up a join token", errno);
  }
  const Json row{{"joined", absl::ToUnixSeconds(now)}};
  absl::Status written = write_private_file(path(kNodes, node), row.dump() + "\n");
  // Nobody joined by it: a full disk costs nobody a token.
  if (!written.ok() && ::rename(used.c_str(), unused.c_str()) != 0)
    log::error("join_token_not_given_back", {{"token", token.id}, {"error", std::strerror(errno)}});
  return written;
}

std::optional<absl::Time> TokenStore::joined_at(const std::string& node) const {
  if (!is_node_name(node)) return std::nullopt;
  const std::string file = path(kNodes, node);
  const absl::StatusOr<std::string> text = read_private_file(file);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  const Json row = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  if (row.is_object() && row.contains("joined") && row["joined"].is_number_integer())
    return absl::FromUnixSeconds(row["joined"].get<int64_t>());
  // Since when its certificates count is not known, so none does.
  log::error("joined_node_not_read",
             {{"error", text.ok() ? str_cat(file, " is damaged") : std::string(text.status().message())},
              {"next", str_cat("weft join-token remove --node ", node, ", and another token")}});
  return std::nullopt;
}

void TokenStore::forget(absl::Time now) const {
  for (const char* part : {kTokens, kUsed}) {
    const auto names = names_in(path(part, ""));
    if (!names.ok()) continue;
    for (const std::string& id : *names) {
      const absl::StatusOr<Row> row = read(part, id, nullptr);
      if (row.ok() && row->expires + kKept <= now) ::unlink(path(part, id).c_str());
    }
  }
}

}  // namespace weft::control_plane
