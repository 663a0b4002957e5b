// The order of capabilities(7): keep capabilities over setuid, change groups before the user, then cut the
// sets down. Raw capset, as libcap would be a dependency for one call.
#include "userspace-proxy/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "base/core_dumps.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

constexpr char kDefaultUser[] = "nobody";

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
};

absl::StatusOr<Account> find_account(const std::string& user) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16 * 1024> buffer{};
  const int error = ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0) return errno_status(str_cat("look up user ", user), error);
  if (found == nullptr) {
    return absl::NotFoundError(
        str_cat("no user \"", user, "\" on this machine; create it or choose another with --user"));
  }
  return Account{entry.pw_uid, entry.pw_gid};
}

// Nothing that is executed later gets one back. Past CAP_LAST_CAP of this kernel prctl fails.
void bound_capabilities() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (capability != CAP_SYS_ADMIN) ::prctl(PR_CAPBSET_DROP, capability);
  }
}

absl::Status keep_only_sys_admin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  sets[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective = CAP_TO_MASK(CAP_SYS_ADMIN);
  sets[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted = CAP_TO_MASK(CAP_SYS_ADMIN);
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return errno_status("keep CAP_SYS_ADMIN only", errno);
  return absl::OkStatus();
}

}  // namespace

absl::Status drop_privileges(const std::string& user) {
  if (::geteuid() != 0 && user.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Account account, find_account(user.empty() ? kDefaultUser : user));
  if (::geteuid() != 0) {
    if (account.uid == ::geteuid()) return absl::OkStatus();
    return absl::PermissionDeniedError("only root can become another user; start as root or drop --user");
  }
  if (account.uid == 0) {
    log::warn("running_as_root", {{"next", "choose an unprivileged --user"}});
    return absl::OkStatus();
  }
  bound_capabilities();
  if (::prctl(PR_SET_KEEPCAPS, 1) != 0) return errno_status("keep capabilities", errno);
  if (::setgroups(0, nullptr) != 0) return errno_status("drop groups", errno);
  if (::setresgid(account.gid, account.gid, account.gid) != 0) return errno_status("change group", errno);
  if (::setresuid(account.uid, account.uid, account.uid) != 0) return errno_status("change user", errno);
  RETURN_IF_ERROR(keep_only_sys_admin());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_status("forbid new privileges", errno);
  return forbid_core_dumps();
}

}  // namespace weft::proxy
