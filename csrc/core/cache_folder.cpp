#include "core/cache_folder.h"

// Browsers have no such folder. Windows has, but says by access control lists, not by an owner and mode bits, who else
// may write there; until that is checked, nothing is trusted there and weights are packed each time.
#if defined(__EMSCRIPTEN__) || defined(_WIN32)

namespace evsam {

CacheFolder::~CacheFolder() = default;
Status CacheFolder::open(const std::string& path, CacheFolder*) {
#if defined(_WIN32)
  constexpr char kSystem[] = "Windows";
#else
  constexpr char kSystem[] = "WebAssembly";
#endif
  return Status::unavailable(expected_got(path, "a system that says who may write to files by mode bits", kSystem));
}
Status CacheFolder::map(const std::string&, MappedFile*) const { return Status::unavailable(path_); }
Status CacheFolder::write(const std::string&, const std::vector<Part>&, std::uint64_t, bool*) const {
  return Status::unavailable(path_);
}
void CacheFolder::remove(const std::string&) const {}

}  // namespace evsam

#else

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <system_error>

namespace evsam {
namespace {

// What a file is called until it is whole: the parts of processes that are no more are found by it.
constexpr char kPartPrefix[] = ".part-";

// Nobody writes for so many seconds.
constexpr std::time_t kForgotten = 3600;

// Some systems refuse larger ones.
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;

Status problem(const std::string& path, const std::string& expected, const std::string& got) {
  return Status::unavailable(expected_got(path, expected, got));
}

Status system_problem(const std::string& path, const std::string& expected) {
  return problem(path, expected, std::generic_category().message(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  // 0, or -1 where what was written did not arrive.
  int close() { return number_ < 0 ? 0 : ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

Status check_owner(const std::string& path, const struct stat& status) {
  constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
  if (status.st_uid == geteuid() && (status.st_mode & kOthersWrite) == 0) return {};
  return problem(path, "a folder and files of this user that nobody else may write to",
                 status.st_uid != geteuid() ? "those of another user" : "others that may");
}

void make_folders(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    (void)mkdir(path.substr(0, end).c_str(), S_IRWXU);  // opening it will tell
    if (end == std::string::npos) return;
  }
}

bool write_all(int descriptor, const CacheFolder::Part& part) {
  const char* data = static_cast<const char*>(part.data);
  for (std::size_t left = part.bytes; left > 0;) {
    const ssize_t written = ::write(descriptor, data, std::min(left, kLargestWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    left -= static_cast<std::size_t>(written);
  }
  return true;
}

// A disk that is too full is found out before it is filled, where its file system can tell.
bool reserve(int descriptor, std::uint64_t bytes) {
#if defined(__linux__)
  return fallocate(descriptor, 0, 0, static_cast<off_t>(bytes)) == 0 || (errno != ENOSPC && errno != EFBIG);
#else
  (void)descriptor;
  (void)bytes;
  return true;
#endif
}

}  // namespace

CacheFolder::~CacheFolder() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status CacheFolder::open(const std::string& path, CacheFolder* folder) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  CacheFolder opened;
  opened.path_ = path;
  opened.descriptor_ = ::open(path.c_str(), kFlags);
  if (opened.descriptor_ < 0 && errno == ENOENT) {
    make_folders(path);
    opened.descriptor_ = ::open(path.c_str(), kFlags);
  }
  struct stat status = {};
  if (opened.descriptor_ < 0 || fstat(opened.descriptor_, &status) != 0) {
    return system_problem(path, "a folder that can be made and read");
  }
  EVSAM_RETURN_IF_ERROR(check_owner(path, status));
  *folder = std::move(opened);
  return {};
}

Status CacheFolder::map(const std::string& name, MappedFile* file) const {
  const std::string path = path_ + "/" + name;
  const Descriptor found(openat(descriptor_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat status = {};
  if (found.get() < 0 || fstat(found.get(), &status) != 0) return system_problem(path, "a file that can be read");
  EVSAM_RETURN_IF_ERROR(check_owner(path, status));
  EVSAM_RETURN_IF_ERROR(MappedFile::map(path, found.get(), file));
  (void)futimens(found.get(), nullptr);  // now; on a disk that is read-only nothing is removed, either
  return {};
}

Status CacheFolder::write(const std::string& name, const std::vector<Part>& parts, std::uint64_t limit,
                          bool* busy) const {
  const std::string path = path_ + "/" + name;
  std::uint64_t bytes = 0;
  for (const Part& part : parts) bytes += part.bytes;
  // A descriptor of its own, since a lock belongs to what open() gave: threads of a process exclude each other, too.
  const Descriptor lock(openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  *busy = lock.get() >= 0 && flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (*busy) return {};
  EVSAM_RETURN_IF_ERROR(make_room(name, bytes, limit));

  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string part_name = kPartPrefix + std::to_string(getpid()) + "-" + std::to_string(now);
  Descriptor part(openat(descriptor_, part_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  bool done = part.get() >= 0 && reserve(part.get(), bytes);
  for (std::size_t i = 0; done && i < parts.size(); ++i) done = write_all(part.get(), parts[i]);
  done = done && part.close() == 0 && renameat(descriptor_, part_name.c_str(), descriptor_, name.c_str()) == 0;
  if (done) return {};
  const Status status = system_problem(path, "a file of " + std::to_string(bytes) + " bytes that can be written");
  remove(part_name);
  return status;
}

void CacheFolder::remove(const std::string& name) const { (void)unlinkat(descriptor_, name.c_str(), 0); }

Status CacheFolder::make_room(const std::string& name, std::uint64_t bytes, std::uint64_t limit) const {
  struct Entry {
    std::time_t used;
    std::uint64_t bytes;
    std::string name;
  };
  std::vector<Entry> entries;
  std::uint64_t total = bytes;
  const int again = openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const listing = again < 0 ? nullptr : fdopendir(again);
  if (listing == nullptr) {
    const Status status = system_problem(path_, "a folder that can be listed");
    if (again >= 0) ::close(again);
    return status;
  }
  while (const dirent* const item = readdir(listing)) {
    Entry entry = {0, 0, item->d_name};
    struct stat status = {};
    if (fstatat(descriptor_, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) {
      continue;
    }
    entry.used = status.st_mtime;
    entry.bytes = static_cast<std::uint64_t>(status.st_size);
    if (entry.name.compare(0, sizeof(kPartPrefix) - 1, kPartPrefix) == 0) {
      if (std::time(nullptr) - entry.used > kForgotten) remove(entry.name);
    } else if (entry.name != name) {
      total += entry.bytes;
      entries.push_back(std::move(entry));
    }
  }
  closedir(listing);
  if (bytes > limit) {
    return problem(path_, "a limit of " + std::to_string(bytes) + " bytes or more for this file",
                   std::to_string(limit));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= limit) break;
    remove(entry.name);
    total -= entry.bytes;
  }
  return {};
}

}  // namespace evsam

#endif
