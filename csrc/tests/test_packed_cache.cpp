// The cache of packed weights: the same bits from it as without it, and whatever is wrong with a file or a folder, a
// model loads, and nothing of a damaged file is believed.
#include "engine/packed_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/cache_folder.h"
#include "core/environment.h"
#include "core/packed_archive.h"
#include "core/workspace.h"
#include "engine/engine.h"
#include "nano.h"

namespace {

using namespace evsam;
using State = PackedCacheReport::State;
namespace fs = std::filesystem;

// A new folder of this test, removed in the end.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "evsam-packed-XXXXXX").string();
    CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void put(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::ptrdiff_t>(content.size()));
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

// What a process has that loaded nano.
struct Loaded {
  std::unique_ptr<Engine> engine;
  std::vector<std::vector<float>> features;

  State state() const { return engine->packed_cache().state; }
  const std::string& path() const { return engine->packed_cache().path; }
};

Loaded load(const std::string& folder, Precision precision = Precision::fp32, int threads = 2, bool encodes = true) {
  const SafetensorsFile file = test::nano_file();
  EngineOptions options;
  options.threads = threads;
  options.precision = precision;
  options.packed_cache.use = folder.empty() ? PackedCacheOptions::Use::off : PackedCacheOptions::Use::on;
  options.packed_cache.folder = folder;
  options.packed_cache.least_bytes = 0;
  Loaded loaded;
  const Status status = Engine::create(test::nano_config(), file.tensors(), options, &loaded.engine);
  CHECK_MSG(status.ok(), status.message());
  if (!encodes) return loaded;
  std::vector<std::uint8_t> photo(80 * 120 * 3);
  for (std::size_t i = 0; i < photo.size(); ++i) photo[i] = static_cast<std::uint8_t>(i * i % 251);
  std::vector<float*> maps;
  for (const MapShape& shape : loaded.engine->feature_shapes()) {
    loaded.features.emplace_back(static_cast<std::size_t>(shape.channels * shape.height * shape.width));
    maps.push_back(loaded.features.back().data());
  }
  CHECK(loaded.engine->encode({photo.data(), 80, 120, 360}, maps.data()).ok());
  return loaded;
}

void test_same_bits() {
  for (const Precision precision : kAllPrecisions) {
    const Folder folder;
    const Loaded plain = load("", precision);
    CHECK(plain.state() == State::off && plain.path().empty());
    const Loaded first = load(folder / "made" + "/here", precision, 1);
    CHECK(first.state() == State::written && first.engine->packed_cache().problem.empty());
    const std::string content = content_of(first.path());
    for (const int threads : {1, 2}) {
      const Loaded again = load(folder / "made" + "/here", precision, threads);
      CHECK(again.state() == State::read && again.path() == first.path());
      CHECK_MSG(again.features == plain.features, std::string("other bits at ") + precision_name(precision));
    }
    CHECK(first.features == plain.features);
    // Another order of threads makes the same file, which the first engine keeps while it is replaced.
    fs::remove(first.path());
    CHECK(load(folder / "made" + "/here", precision, 3).state() == State::written);
    CHECK(content_of(first.path()) == content);
  }
}

void test_what_decides() {
  const Folder folder;
  const std::string path = load(folder.path()).path();
  CHECK(load(folder.path(), Precision::bf16).path() != path);
  // Other weights, and another architecture with the same ones.
  SafetensorsFile file = test::nano_file();
  TensorTable tensors = file.tensors();
  const std::string name = "image_encoder.norm.bias";
  std::vector<float> changed;
  const std::size_t count = static_cast<std::size_t>(test::nano_config().neck.width);
  CHECK(tensors.read(name, {static_cast<std::int64_t>(count)}, &changed).ok());
  changed[count / 2] += 1.0F;
  StoredTensor tensor;
  tensor.dtype = DType::kFloat32;
  tensor.shape = {static_cast<std::int64_t>(count)};
  tensor.data = changed.data();
  EngineOptions options;
  options.packed_cache = {PackedCacheOptions::Use::on, folder.path(), 0};
  std::unique_ptr<Engine> engine;
  VariantConfig config = test::nano_config();
  config.record += " ";
  CHECK(Engine::create(config, tensors, options, &engine).ok());
  CHECK(engine->packed_cache().state == State::written && engine->packed_cache().path != path);
  tensors.add(name, tensor);
  CHECK(Engine::create(test::nano_config(), tensors, options, &engine).ok());
  CHECK(engine->packed_cache().state == State::written && engine->packed_cache().path != path);
  CHECK(names_in(folder.path()).size() == 4);
  // Too small to be worth it.
  options.packed_cache.least_bytes = tensors.bytes("image_encoder.") + 1;
  CHECK(Engine::create(test::nano_config(), tensors, options, &engine).ok());
  CHECK(engine->packed_cache().state == State::small && engine->packed_cache().path.empty());
}

void test_damaged_files() {
  const Folder folder;
  const Loaded plain = load("");
  const std::string path = load(folder.path()).path();
  const std::string content = content_of(path);
  const auto flipped = [&](std::size_t at) {
    std::string damaged = content;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    return damaged;
  };
  std::vector<std::string> damages = {
      "",
      "x",
      content.substr(0, 40),
      content.substr(0, 4096),
      content.substr(0, content.size() - 1),
      content + '\0',
      std::string(100000, '\xff'),
      std::string(content.size(), '\0'),
      content.substr(0, content.size() / 2) + std::string(content.size() - content.size() / 2, '\0')};
  for (std::size_t at = 0; at < 48; at += 3) damages.push_back(flipped(at));  // each number of the header
  for (const std::size_t at : {std::size_t{60}, std::size_t{2000}, std::size_t{3000}, std::size_t{4000},
                               content.size() / 3, content.size() / 2, content.size() - 1}) {
    damages.push_back(flipped(at));
  }
  for (std::size_t i = 0; i < damages.size(); ++i) {
    put(path, damages[i]);
    const bool encodes = i % 8 == 0;  // which takes much longer than loading
    const Loaded again = load(folder.path(), Precision::fp32, 2, encodes);
    CHECK_MSG(again.state() == State::written, "damage " + std::to_string(i));
    CHECK_MSG(!encodes || again.features == plain.features, "other bits behind damage " + std::to_string(i));
    CHECK_MSG(content_of(path) == content, "damage " + std::to_string(i) + " was not made good");
  }
  CHECK(load(folder.path()).state() == State::read);
}

void test_files_of_others() {
  const Folder folder;
  const Loaded plain = load("");
  const std::string path = load(folder.path()).path();
  // A file that others may write to is replaced, and so is a link to one that would do.
  CHECK(chmod(path.c_str(), 0622) == 0);
  CHECK(load(folder.path()).state() == State::written);
  struct stat status = {};
  CHECK(stat(path.c_str(), &status) == 0 && (status.st_mode & 0777) == 0600);
  fs::rename(path, folder / "elsewhere");
  fs::create_symlink(folder / "elsewhere", path);
  CHECK(load(folder.path()).state() == State::written);
  CHECK(!fs::is_symlink(path));
  // A folder that others may write to is not used.
  for (const mode_t mode : {0770, 0707}) {
    CHECK(chmod(folder.path().c_str(), mode) == 0);
    const Loaded refused = load(folder.path());
    CHECK(refused.state() == State::failed && refused.features == plain.features);
    CHECK(refused.engine->packed_cache().problem ==
          folder.path() +
              ": expected a folder and files of this user that nobody else may write to, got others that may");
  }
  CHECK(chmod(folder.path().c_str(), 0700) == 0);
  if (geteuid() == 0) {
    CHECK(chown(folder.path().c_str(), 12345, 12345) == 0);
    const Loaded refused = load(folder.path());
    CHECK(refused.state() == State::failed);
    CHECK(refused.engine->packed_cache().problem.find("those of another user") != std::string::npos);
    CHECK(chown(folder.path().c_str(), 0, 0) == 0);
    CHECK(chown(path.c_str(), 12345, 12345) == 0);
    CHECK(load(folder.path()).state() == State::written);
  }
  CHECK(load(folder.path()).state() == State::read);
}

void test_folders_that_cannot_be_written() {
  const Folder folder;
  const Loaded plain = load("");
  put(folder / "file", "");
  const Loaded refused = load(folder / "file" + "/packed");
  CHECK(refused.state() == State::failed && refused.features == plain.features);
  CHECK(refused.engine->packed_cache().problem.find("expected a folder that can be made and read, got") !=
        std::string::npos);

  // A disk without room, as far as a test can have one.
  const std::string packed = folder / "packed";
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = {};
  CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit small = {rlim_t{1} << 20, limit.rlim_max};
  CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Loaded full = load(packed);
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(full.state() == State::failed && full.features == plain.features);
  CHECK(full.engine->packed_cache().problem.find(" bytes that can be written, got ") != std::string::npos);
  CHECK(names_in(packed).empty());

  // Read-only: what is there is read, and what is not is not made.
  CHECK(load(packed).state() == State::written);
  if (geteuid() == 0) return;  // who may write everywhere
  CHECK(chmod(packed.c_str(), 0500) == 0);
  CHECK(load(packed).state() == State::read);
  CHECK(load(packed, Precision::bf16).state() == State::failed);
  CHECK(chmod(packed.c_str(), 0700) == 0);
}

void test_several_at_once() {
  const Folder folder;
  const Loaded plain = load("");
  std::vector<Loaded> loaded(4);
  std::vector<std::thread> threads;
  for (Loaded& each : loaded) threads.emplace_back([&] { each = load(folder.path()); });
  for (std::thread& thread : threads) thread.join();
  for (const Loaded& each : loaded) {
    CHECK(each.state() == State::written || each.state() == State::busy || each.state() == State::read);
    CHECK(each.engine->packed_cache().problem.empty());
    CHECK(each.features == plain.features);
  }
  CHECK(names_in(folder.path()).size() == 1);
  CHECK(load(folder.path()).state() == State::read);
}

void write_file(const CacheFolder& folder, const std::string& name, std::size_t bytes, std::uint64_t limit, bool fits) {
  const std::string content(bytes, 'x');
  bool busy = false;
  const Status status = folder.write(name, {{content.data(), 1}, {content.data() + 1, bytes - 1}}, limit, &busy);
  CHECK_MSG(status.ok() == fits && !busy, status.message());
}

void set_used(const std::string& path, std::time_t when) {
  const timespec times[2] = {{when, 0}, {when, 0}};
  CHECK(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

void test_limit() {
  const Folder place;
  CacheFolder folder;
  CHECK(CacheFolder::open(place / "a" + "/b/c", &folder).ok());
  const auto there = [&](const std::string& name) { return fs::exists(place / "a" + "/b/c/" + name); };
  const auto set = [&](const std::string& name, std::time_t when) { set_used(place / "a" + "/b/c/" + name, when); };
  struct stat status = {};
  CHECK(stat((place / "a").c_str(), &status) == 0 && (status.st_mode & 0777) == 0700);

  write_file(folder, "first", 400, 1000, true);
  write_file(folder, "second", 400, 1000, true);
  set("first", 1000);
  set("second", 2000);
  MappedFile mapped;
  CHECK(folder.map("first", &mapped).ok());  // so that the second was not used for longer
  CHECK(mapped.size() == 400);
  write_file(folder, "third", 300, 1000, true);
  CHECK(there("first") && !there("second") && there("third"));
  write_file(folder, "third", 600, 1000, true);  // takes its own place
  CHECK(there("first") && there("third") && fs::file_size(place / "a" + "/b/c/third") == 600);
  write_file(folder, "fourth", 1001, 1000, false);
  CHECK(there("first") && there("third") && !there("fourth"));
  folder.remove("first");
  CHECK(mapped.data()[399] == 'x');  // whoever has it keeps it

  // What a process left that was killed goes after an hour; what one writes now stays.
  put(place / "a" + "/b/c/.part-1", "x");
  put(place / "a" + "/b/c/.part-2", "x");
  set(".part-1", 1000);
  write_file(folder, "fifth", 10, 1000, true);
  CHECK(!there(".part-1") && there(".part-2"));

  // Another process is writing.
  const int other = ::open((place / "a" + "/b/c").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(flock(other, LOCK_EX) == 0);
  bool busy = false;
  CHECK(folder.write("sixth", {{"x", 1}}, 1000, &busy).ok() && busy && !there("sixth"));
  ::close(other);
  CHECK(folder.write("sixth", {{"x", 1}}, 1000, &busy).ok() && !busy && there("sixth"));
  CHECK(!folder.map("seventh", &mapped).ok());
}

struct Item {
  AlignedBuffer<std::uint16_t> numbers;
};
void fields(PackedArchive& archive, Item& item) { archive.buffer(item.numbers); }

struct Things {
  std::int64_t count = -5;
  float scale = 0.1F;
  bool yes = true;
  Precision precision = Precision::int8;
  std::vector<Item> items;
  AlignedBuffer<float> floats;
};

void read_or_write(PackedArchive& archive, Things& things, const std::string& name = "things") {
  archive.begin(name);
  archive.values(things.count, things.scale, things.yes, things.precision);
  archive.list(things.items);
  archive.buffer(things.floats);
}

void test_archive() {
  const PackedArchive::UsedKernels kernels;
  Things given;
  given.items.resize(3);
  given.items[1].numbers = AlignedBuffer<std::uint16_t>(5);
  given.items[1].numbers[4] = 77;
  given.floats = AlignedBuffer<float>(100);
  given.floats[99] = 2.5F;
  PackedArchive written(kernels);
  read_or_write(written, given);
  CHECK(written.pieces().size() == 2 && written.content_bytes() == 64 + 400);
  AlignedBuffer<std::uint8_t> content(written.content_bytes());
  std::memcpy(content.data(), given.items[1].numbers.data(), 10);
  std::memcpy(content.data() + 64, given.floats.data(), 400);

  Things read = {0, 0.0F, false, Precision::fp32, {}, {}};
  const PackedArchive::Piece whole = {content.data(), content.size()};
  PackedArchive archive(kernels, written.words(), whole);
  read_or_write(archive, read);
  CHECK(archive.complete());
  CHECK(read.count == -5 && read.scale == 0.1F && read.yes && read.precision == Precision::int8);
  CHECK(read.items.size() == 3 && read.items[0].numbers.size() == 0 && read.items[1].numbers[4] == 77);
  CHECK(read.floats.size() == 100 && static_cast<const void*>(read.floats.data()) == content.data() + 64);
  AlignedBuffer<float> moved = std::move(read.floats);  // a view still
  CHECK(read.floats.data() == nullptr && moved[99] == 2.5F);

  const auto fails = [&](std::vector<std::uint64_t> words, PackedArchive::Piece part, const std::string& name) {
    PackedArchive damaged(kernels, std::move(words), part);
    Things things;
    read_or_write(damaged, things, name);
    CHECK(!damaged.complete());
  };
  fails(written.words(), whole, "others");
  fails(written.words(), {content.data(), 463}, "things");
  fails(written.words(), {content.data(), 64}, "things");
  fails(written.words(), {nullptr, 0}, "things");
  for (std::size_t count = 0; count < written.words().size(); ++count) {
    fails({written.words().begin(), written.words().begin() + static_cast<std::ptrdiff_t>(count)}, whole, "things");
  }
  std::vector<std::uint64_t> more = written.words();
  more.push_back(0);
  fails(more, whole, "things");
  for (const std::uint64_t size : {std::uint64_t{4}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    std::vector<std::uint64_t> words = written.words();
    words[5] = size;  // of the list
    fails(words, whole, "things");
    words = written.words();
    words.back() = size + 97;  // of the floats
    fails(words, whole, "things");
  }
}

void test_environment() {
  const auto set = [](const char* name, const char* value) {
    CHECK((value == nullptr ? unsetenv(name) : setenv(name, value, 1)) == 0);
  };
  PackedCacheEnvironment found;
  for (const char* name : {"EVSAM_PACKED_CACHE", "EVSAM_PACKED_CACHE_GIB", "EVSAM_CACHE", "XDG_CACHE_HOME"}) {
    set(name, nullptr);
  }
  set("HOME", "/home/someone");
  CHECK(packed_cache_of_environment(&found).ok());
  CHECK(!found.on && found.limit == std::uint64_t{8} << 30 && found.folder == "/home/someone/.cache/evsam/packed");
  set("XDG_CACHE_HOME", "/xdg");
  CHECK(packed_cache_of_environment(&found).ok() && found.folder == "/xdg/evsam/packed");
  set("EVSAM_CACHE", "~/own");
  set("EVSAM_PACKED_CACHE", "1");
  set("EVSAM_PACKED_CACHE_GIB", "2");
  CHECK(packed_cache_of_environment(&found).ok() && found.folder == "/home/someone/own/packed");
  CHECK(found.on && found.limit == std::uint64_t{2} << 30);
  set("EVSAM_CACHE", "/own");
  set("EVSAM_PACKED_CACHE", "0");
  CHECK(packed_cache_of_environment(&found).ok() && found.folder == "/own/packed" && !found.on);
  for (const char* text : {"yes", "2", "01"}) {
    set("EVSAM_PACKED_CACHE", text);
    CHECK(packed_cache_of_environment(&found).message() ==
          "EVSAM_PACKED_CACHE: expected 1 for on or 0 for off, got " + std::string(text));
  }
  set("EVSAM_PACKED_CACHE", nullptr);
  for (const char* text : {"0", "-1", "1.5", "x", "1048577", "99999999999999999999"}) {
    set("EVSAM_PACKED_CACHE_GIB", text);
    CHECK(packed_cache_of_environment(&found).message() ==
          "EVSAM_PACKED_CACHE_GIB: expected a whole number of GiB, 1 to 1048576, got " + std::string(text));
  }
  set("EVSAM_PACKED_CACHE_GIB", nullptr);
  for (const char* name : {"EVSAM_CACHE", "XDG_CACHE_HOME", "HOME"}) set(name, nullptr);
  CHECK(packed_cache_of_environment(&found).ok() && found.folder.empty());
  SafetensorsFile file = test::nano_file();
  EngineOptions options;
  options.packed_cache = {PackedCacheOptions::Use::on, "", 0};
  std::unique_ptr<Engine> engine;
  CHECK(Engine::create(test::nano_config(), file.tensors(), options, &engine).ok());
  CHECK(engine->packed_cache().problem == "EVSAM_CACHE: expected a folder, or a HOME, got none");
}

}  // namespace

int main() {
  umask(0022);
  test_archive();
  test_limit();
  test_same_bits();
  test_what_decides();
  test_damaged_files();
  test_files_of_others();
  test_folders_that_cannot_be_written();
  test_several_at_once();
  test_environment();
  return test::test_result();
}
