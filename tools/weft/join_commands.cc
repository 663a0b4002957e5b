// `weft join-token`: tokens for machines without Kubernetes, in the folder that weft-control reads. Called by
// cli.cc. What a token is goes to standard output once, and nowhere else.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "control-plane/join/token_store.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/commands.h"

namespace weft::cli {
namespace {

using control_plane::TokenStore;

constexpr char kList[] = "weft join-token list";

// Files there are weft-control's, and are written and read as it. Root is that user for as long as this
// lives.
class FolderOwner {
 public:
  static absl::StatusOr<FolderOwner> become(const std::string& folder) {
    struct stat owner{};
    if (::stat(folder.c_str(), &owner) != 0)
      return absl::FailedPreconditionError(
          str_cat(errno_status(folder, errno).message(), "; next: weft-control --join-dir ", folder));
    if (::geteuid() != 0 && ::geteuid() != owner.st_uid)
      return absl::PermissionDeniedError(str_cat("only root makes nodes; next: sudo weft join-token"));
    FolderOwner out(::geteuid() == 0 && owner.st_uid != 0);
    if (out.changed_ && (::setegid(owner.st_gid) != 0 || ::seteuid(owner.st_uid) != 0))
      return errno_status("act as the folder's owner", errno);
    return out;
  }
  FolderOwner(FolderOwner&& other) noexcept : changed_(std::exchange(other.changed_, false)) {}
  FolderOwner& operator=(FolderOwner&&) = delete;
  ~FolderOwner() {
    if (!changed_) return;
    // Root was who began: nothing can forbid it.
    static_cast<void>(::seteuid(0));
    static_cast<void>(::setegid(0));
  }

 private:
  explicit FolderOwner(bool changed) : changed_(changed) {}
  bool changed_;
};

TokenStore store_of(const Flags& flags) {
  return TokenStore(flags.join.folder.empty() ? control_plane::kDefaultJoinFolder : flags.join.folder);
}

std::string time_text(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::UTCTimeZone());
}

int refused(const absl::Status& status, Environment& env) { return report(status, kList, env); }

}  // namespace

int join_token_create(const Flags& flags, Environment& env) {
  absl::Duration life;
  if (!absl::ParseDuration(flags.join.life, &life))
    return report(absl::InvalidArgumentError(str_cat("--ttl: '", flags.join.life, "' is no time")),
                  "weft join-token create --node NAME --ttl 1h", env);
  const TokenStore store = store_of(flags);
  const auto owner = FolderOwner::become(store.folder());
  if (!owner.ok()) return refused(owner.status(), env);
  const absl::Time now = absl::Now();
  const auto token = store.create(flags.join.node, life, now);
  if (!token.ok()) return report(token.status(), "weft join-token create --help", env);
  print(Json{{"schema", "weft.joinToken.v1"},
             {"token", *token},
             {"node", flags.join.node},
             {"expires", time_text(now + life)}},
        *token + "\n", flags, env);
  env.err << "It is shown this once, and can be used once, until " << time_text(now + life)
          << " UTC, by node " << flags.join.node
          << "\nnext: there, in a file of mode 0600: weft-agent --node-name " << flags.join.node
          << " --join-token-file FILE --control-plane HOST:15012 --control-ca FILE --find-pods annotation\n";
  return kOk;
}

int join_token_list(const Flags& flags, Environment& env) {
  const TokenStore store = store_of(flags);
  const auto owner = FolderOwner::become(store.folder());
  if (!owner.ok()) return refused(owner.status(), env);
  const auto rows = store.list();
  if (!rows.ok()) return report(rows.status(), "weft join-token create", env);
  const auto nodes = store.nodes();
  if (!nodes.ok()) return report(nodes.status(), "weft join-token create", env);
  Table table{.head = {"TYPE", "STATE", "VALID UNTIL", "ID", "NODE"}, .rows = {}};
  Json tokens = Json::array(), members = Json::array();
  for (const TokenStore::Row& row : *rows) {
    const char* state = row.used ? "used" : row.expires <= absl::Now() ? "expired" : "unused";
    table.rows.push_back({"token", state, time_text(row.expires), row.id, row.node});
    tokens.push_back(
        {{"id", row.id}, {"node", row.node}, {"state", state}, {"expires", time_text(row.expires)}});
  }
  for (const std::string& node : *nodes) {
    table.rows.push_back({"node", "joined", "", "", node});
    members.push_back(node);
  }
  print(Json{{"schema", "weft.joinTokens.v1"}, {"tokens", tokens}, {"nodes", members}}, render_table(table),
        flags, env);
  return kOk;
}

int join_token_remove(const Flags& flags, Environment& env) {
  const TokenStore store = store_of(flags);
  const auto owner = FolderOwner::become(store.folder());
  if (!owner.ok()) return refused(owner.status(), env);
  const auto removed = store.remove(flags.join.node);
  if (!removed.ok()) return refused(removed.status(), env);
  if (!*removed)
    return refused(absl::NotFoundError(str_cat("node ", flags.join.node, " has neither joined nor a token")),
                   env);
  print(Json{{"schema", "weft.joinTokenRemoved.v1"}, {"node", flags.join.node}},
        str_cat("removed ", flags.join.node, "\n"), flags, env);
  return kOk;
}

}  // namespace weft::cli
