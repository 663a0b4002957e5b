// The folder of the nodes that join: which tokens were made, which of them were used, and which nodes are
// members. One small JSON file each, mode 0600 and of weft-control's user, so that `weft join-token`,
// weft-control and its replicas on one file system share it without asking each other; what must happen once
// is one rename. Any thread, any process. No file has what a token could be made from.
//
//   tokens/ID   made, not used   --join-->   used/ID   --a day after it expired-->   gone
//   nodes/NAME  the node has joined and was not removed
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control-plane/join/join_token.h"

namespace weft::control_plane {

inline constexpr char kDefaultJoinFolder[] = "/var/lib/weft-control/join";

class TokenStore {
 public:
  // A token is for one machine that is being set up.
  static constexpr absl::Duration kShortest = absl::Minutes(1);
  static constexpr absl::Duration kLongest = absl::Hours(7 * 24);

  explicit TokenStore(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  // Mode 0700; what is missing is made.
  absl::Status make_folders() const;

  // A new token, whose text is nowhere after this. kInvalidArgument: `node` is no name of a node, or `life`
  // not between a minute and seven days; kFailedPrecondition: there is no such folder.
  absl::StatusOr<std::string> create(const std::string& node, absl::Duration life, absl::Time now) const;

  struct Row {
    std::string id;
    std::string node;
    absl::Time expires;
    bool used = false;
  };
  // Tokens that are there, in the order of their ids. A file that cannot be read is an error.
  absl::StatusOr<std::vector<Row>> list() const;
  // Of the nodes that have joined, sorted.
  absl::StatusOr<std::vector<std::string>> nodes() const;
  // The node is none any more, and no token is for it. Returns whether there was anything. What cannot be
  // removed, or read so that it is known whose it is, keeps nothing else from going; the error says what
  // stays.
  absl::StatusOr<bool> remove(const std::string& node) const;

  enum class Verdict { kGood, kUnknown, kUsed, kExpired, kOtherNode };
  // `for_node`: whose it is, set for kGood and kOtherNode. Only who has the whole token hears more than
  // kUnknown.
  Verdict look(const JoinToken& token, const std::string& node, absl::Time now, std::string* for_node) const;
  // Uses the token up, and makes the node a member. kAlreadyExists: another call was first. With any other
  // error the token is as good as before.
  absl::Status use(const JoinToken& token, const std::string& node, absl::Time now) const;
  // When the member joined last, in whole seconds; nullopt: it is none.
  std::optional<absl::Time> joined_at(const std::string& node) const;
  // Forgets used and expired tokens, a day after they expired.
  void forget(absl::Time now) const;

 private:
  std::string path(const char* part, const std::string& name) const;
  // Unused ones of the node. Returns whether there were any.
  absl::StatusOr<bool> remove_tokens(const std::string& node) const;
  absl::StatusOr<Row> read(const char* part, const std::string& id, std::string* digest) const;

  const std::string folder_;
};

}  // namespace weft::control_plane
