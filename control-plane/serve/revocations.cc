// See revocations.h.
#include "control-plane/serve/revocations.h"

#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {

absl::StatusOr<std::string> all_revocations(const CertificateAuthority& authority, const std::string& file) {
  ASSIGN_OR_RETURN(std::string lists, authority.revocations());
  if (file.empty()) return lists;
  const absl::StatusOr<std::string> more = read_text_file(file, Folder::kMounted);
  if (absl::IsNotFound(more.status())) return lists;
  if (!more.ok()) return more.status();
  RETURN_IF_ERROR(annotate(file, read_crls(*more).status()));
  // The last line of a file may have no end: a list that began on it would be none.
  if (!lists.empty() && !lists.ends_with('\n')) lists += '\n';
  return str_cat(lists, *more);
}

}  // namespace weft::control_plane
