#include "engine/packed_cache.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/cache_folder.h"
#include "core/cpu.h"
#include "core/environment.h"
#include "core/hash.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "engine/encoder.h"
#include "evsam_build_id.inc"
#include "narrow/narrow.h"

namespace evsam {
namespace {

using State = PackedCacheReport::State;
using Use = PackedCacheOptions::Use;

// A file is this header, the key's text, the archive's words, the sums, and at the next page the content. The text and
// the words begin at multiples of a word.
constexpr char kMagic[8] = {'e', 'v', 's', 'a', 'm', 'p', 'k', '1'};
struct Header {
  char magic[8];
  std::uint64_t key_bytes;
  std::uint64_t words;
  std::uint64_t sums;
  std::uint64_t content_bytes;
  std::uint64_t sum;  // of all that is before the content, with 0 in its place
};

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kPage = 4096;  // at least kWorkspaceAlignment

// Pieces of the content have a sum each: threads share them.
constexpr std::size_t kSumBytes = std::size_t{4} << 20;

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::string hexadecimal(std::uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(number));
  return text;
}

// All that decides what the packed weights are.
std::string key_of(const VariantConfig& config, const TensorTable& tensors, Precision precision, int threads,
                   const PackedArchive::UsedKernels& kernels) {
  std::string key = std::string("build ") + kBuildId + "\n";
  key += std::string("kernels ") + isa_name(kernels.all->isa) + "\n";
  key += std::string("precision ") + precision_name(precision);
  key += std::string(" by ") + (kernels.narrow == nullptr ? "float32" : kernels.narrow->name) + "\n";
  key += "weights " + hexadecimal(tensors.digest(kEncoderTensors, threads)) + "\n";
  return key + "record " + config.record + "\n";
}

// In the order of the archive's pieces.
std::vector<std::uint64_t> sums_of(const std::vector<PackedArchive::Piece>& pieces, int threads) {
  std::vector<PackedArchive::Piece> parts;
  for (const PackedArchive::Piece& piece : pieces) {
    for (std::size_t at = 0; at < piece.bytes; at += kSumBytes) {
      parts.push_back({piece.data + at, std::min(kSumBytes, piece.bytes - at)});
    }
  }
  std::vector<std::uint64_t> sums(parts.size());
  default_pool().parallel_for(static_cast<std::int64_t>(parts.size()), threads, [&](std::int64_t i, int) {
    const std::size_t part = static_cast<std::size_t>(i);
    sums[part] = hash_bytes(parts[part].data, parts[part].bytes, part);
  });
  return sums;
}

// What is before the content.
std::vector<std::uint8_t> front_of(const std::string& key, const std::vector<std::uint64_t>& words,
                                   const std::vector<std::uint64_t>& sums, std::size_t content_bytes) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.key_bytes = key.size();
  header.words = words.size();
  header.sums = sums.size();
  header.content_bytes = content_bytes;
  const std::size_t words_at = sizeof(header) + round_up(key.size(), kWord);
  const std::size_t sums_at = words_at + words.size() * kWord;
  std::vector<std::uint8_t> front(round_up(sums_at + sums.size() * kWord, kPage));
  std::memcpy(front.data(), &header, sizeof(header));
  std::memcpy(front.data() + sizeof(header), key.data(), key.size());
  if (!words.empty()) std::memcpy(front.data() + words_at, words.data(), words.size() * kWord);
  if (!sums.empty()) std::memcpy(front.data() + sums_at, sums.data(), sums.size() * kWord);
  header.sum = hash_bytes(front.data(), front.size(), 0);
  std::memcpy(front.data(), &header, sizeof(header));
  return front;
}

// Brings the steps' weights back as views of the file. False: it is not this key's, or damaged.
bool read(const MappedFile& file, const std::string& key, const PackedArchive::UsedKernels& kernels, int threads,
          Graph* graph) {
  Header header;
  if (file.size() < sizeof(header)) return false;
  std::memcpy(&header, file.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.key_bytes != key.size()) return false;
  const std::size_t words_at = sizeof(header) + round_up(key.size(), kWord);
  const std::size_t most_words = file.size() / kWord;
  if (words_at > file.size() || header.words > most_words || header.sums > most_words) return false;
  const std::size_t sums_at = words_at + static_cast<std::size_t>(header.words) * kWord;
  const std::size_t front_bytes = round_up(sums_at + static_cast<std::size_t>(header.sums) * kWord, kPage);
  if (front_bytes > file.size() || header.content_bytes != file.size() - front_bytes) return false;

  std::vector<std::uint8_t> front(file.data(), file.data() + front_bytes);
  const std::uint64_t sum = std::exchange(header.sum, 0);
  std::memcpy(front.data(), &header, sizeof(header));
  if (hash_bytes(front.data(), front.size(), 0) != sum) return false;
  if (std::memcmp(front.data() + sizeof(header), key.data(), key.size()) != 0) return false;

  std::vector<std::uint64_t> words(static_cast<std::size_t>(header.words));
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(header.sums));
  if (!words.empty()) std::memcpy(words.data(), front.data() + words_at, words.size() * kWord);
  if (!sums.empty()) std::memcpy(sums.data(), front.data() + sums_at, sums.size() * kWord);
  PackedArchive archive(kernels, std::move(words), {file.data() + front_bytes, file.size() - front_bytes});
  graph->fields(archive);
  return archive.complete() && sums_of(archive.pieces(), threads) == sums;
}

Status write(const CacheFolder& folder, const std::string& name, const std::string& key,
             const PackedArchive::UsedKernels& kernels, int threads, std::uint64_t limit, Graph* graph, bool* busy) {
  PackedArchive archive(kernels);
  graph->fields(archive);
  const std::vector<std::uint8_t> front =
      front_of(key, archive.words(), sums_of(archive.pieces(), threads), archive.content_bytes());
  constexpr char kGap[kWorkspaceAlignment] = {};
  std::vector<CacheFolder::Part> parts = {{front.data(), front.size()}};
  std::size_t end = 0;
  for (const PackedArchive::Piece& piece : archive.pieces()) {
    if (const std::size_t gap = align_up(end) - end; gap > 0) parts.push_back({kGap, gap});
    parts.push_back({piece.data, piece.bytes});
    end = align_up(end) + piece.bytes;
  }
  return folder.write(name, parts, limit, busy);
}

}  // namespace

const char* packed_state_name(State state) {
  switch (state) {
    case State::off: return "off";
    case State::small: return "small";
    case State::read: return "read";
    case State::written: return "written";
    case State::busy: return "busy";
    case State::failed: return "failed";
  }
  return "unknown";
}

Status PackedWeights::load(const PackedCacheOptions& options, const VariantConfig& config, const TensorTable& tensors,
                           Precision precision, int threads, Graph* graph) {
  report_ = {};
  PackedCacheEnvironment environment;
  EVSAM_RETURN_IF_ERROR(packed_cache_of_environment(&environment));
  if (options.use == Use::off || (options.use == Use::environment && !environment.on)) return graph->load(threads);
  if (tensors.bytes(kEncoderTensors) < options.least_bytes) {
    report_.state = State::small;
    return graph->load(threads);
  }
  const std::string& path = options.folder.empty() ? environment.folder : options.folder;
  PackedArchive::UsedKernels kernels;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels.all));
  EVSAM_RETURN_IF_ERROR(narrow::kernel_for(precision, kernels.all->isa, &kernels.narrow));
  report_.state = State::failed;
  CacheFolder folder;
  const Status opened = path.empty() ? Status::unavailable(expected_got("EVSAM_CACHE", "a folder, or a HOME", "none"))
                                     : CacheFolder::open(path, &folder);
  if (!opened.ok()) {
    report_.problem = opened.message();
    return graph->load(threads);
  }

  const std::string key = key_of(config, tensors, precision, threads, kernels);
  const std::string name = hexadecimal(hash_bytes(key.data(), key.size(), 0)) + ".packed";
  if (folder.map(name, &file_).ok() && read(file_, key, kernels, threads, graph)) {
    report_.state = State::read;
    report_.path = path + "/" + name;
    return graph->load(threads, true);
  }
  EVSAM_RETURN_IF_ERROR(graph->load(threads));
  file_ = {};  // nothing is a view of it any more
  bool busy = false;
  const Status written = write(folder, name, key, kernels, threads, environment.limit, graph, &busy);
  if (written.ok()) report_.state = busy ? State::busy : State::written;
  if (report_.state == State::written) report_.path = path + "/" + name;
  report_.problem = written.message();
  return {};
}

}  // namespace evsam
