// The files of key_file.h.
#include "control-plane/identity/key_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/fd.h"
#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

constexpr size_t kMaxBytes = 1024 * 1024;

absl::StatusOr<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0,
                                   Folder folder = Folder::kOwn) {
  const int links = folder == Folder::kOwn ? O_NOFOLLOW : 0;
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | links, mode));
  if (fd.valid()) return fd;
  if (errno == ELOOP)
    return absl::FailedPreconditionError(str_cat(path, " is a link; next: put the file there"));
  return errno_status(path, errno);
}

absl::StatusOr<std::string> read_all(const std::string& path, int fd) {
  std::string out;
  char block[4096];
  ssize_t count = 0;
  while ((count = ::read(fd, block, sizeof(block))) > 0) {
    out.append(block, static_cast<size_t>(count));
    if (out.size() > kMaxBytes) return absl::FailedPreconditionError(str_cat(path, " is longer than 1 MiB"));
  }
  OPENSSL_cleanse(block, sizeof(block));
  if (count < 0) return errno_status(path, errno);
  return out;
}

absl::Status write_all(const std::string& path, int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return errno_status(path, errno);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return ::fsync(fd) == 0 ? absl::OkStatus() : errno_status(path, errno);
}

absl::Status check_private(const std::string& path, int fd, Folder folder) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return errno_status(path, errno);
  if (!S_ISREG(st.st_mode))
    return absl::FailedPreconditionError(str_cat(path, " is no file; next: put the key there"));
  const bool mounted = folder == Folder::kMounted;
  if (st.st_uid != ::geteuid() && !(mounted && st.st_uid == 0))
    return absl::FailedPreconditionError(
        str_cat(path, " belongs to another user; next: chown ", ::geteuid(), " ", path));
  if ((st.st_mode & (mounted ? 0037 : 0177)) != 0)
    return absl::FailedPreconditionError(str_cat(path, " can be read by others; next: chmod 0600 ", path));
  return absl::OkStatus();
}

// What an earlier process left half written goes first, so that nobody else's mode or owner is kept.
absl::Status replace_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::string fresh = str_cat(path, ".new");
  ::unlink(fresh.c_str());
  {
    ASSIGN_OR_RETURN(const UniqueFd fd, open_file(fresh, O_WRONLY | O_CREAT | O_EXCL, mode));
    RETURN_IF_ERROR(write_all(fresh, fd.get(), text));
  }
  return ::rename(fresh.c_str(), path.c_str()) == 0 ? absl::OkStatus() : errno_status(path, errno);
}

// No prompt: a key under a pass phrase is one that nobody can use here.
int no_pass_phrase(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<KeyPtr> read_key_file(const std::string& path, Folder folder) {
  ASSIGN_OR_RETURN(const UniqueFd fd, open_file(path, O_RDONLY, 0, folder));
  RETURN_IF_ERROR(check_private(path, fd.get(), folder));
  ASSIGN_OR_RETURN(std::string text, read_all(path, fd.get()));
  const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
  OPENSSL_cleanse(text.data(), text.size());
  if (key == nullptr) return openssl_status(str_cat(path, ": no private key in PEM"));
  if (!is_p256(key.get()))
    return absl::FailedPreconditionError(
        str_cat(path, " is no ECDSA P-256 key; next: openssl ecparam -name prime256v1 -genkey -noout"));
  return key;
}

absl::Status write_key_file(const std::string& path, EVP_PKEY* key) {
  ASSIGN_OR_RETURN(const UniqueFd fd, open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  // Held in memory that is wiped when it is freed.
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_status(str_cat(path, ": write the key"));
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return write_all(path, fd.get(), std::string_view(text, static_cast<size_t>(length)));
}

absl::StatusOr<std::string> read_text_file(const std::string& path, Folder folder) {
  ASSIGN_OR_RETURN(const UniqueFd fd, open_file(path, O_RDONLY, 0, folder));
  return read_all(path, fd.get());
}

absl::StatusOr<std::string> read_private_file(const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd fd, open_file(path, O_RDONLY));
  RETURN_IF_ERROR(check_private(path, fd.get(), Folder::kOwn));
  return read_all(path, fd.get());
}

absl::Status write_private_file(const std::string& path, std::string_view text) {
  return replace_file(path, text, 0600);
}

absl::Status write_text_file(const std::string& path, std::string_view text) {
  return replace_file(path, text, 0644);
}

}  // namespace weft::control_plane
