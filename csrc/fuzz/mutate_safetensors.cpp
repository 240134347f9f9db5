// Mutations of the seed files for some seconds, the same ones in every run: what the tests run where there is no
// libFuzzer. Usage: mutate_safetensors [NUMBER OF FILES]
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "fuzz/safetensors_fuzz.h"

namespace {

using evsam::fuzz::check_safetensors;

constexpr long kFiles = 200'000;

// Pieces whose places in a header matter.
const char* const kWords[] = {"{",
                              "}",
                              "[",
                              "]",
                              "\"",
                              ":",
                              ",",
                              "\\u",
                              "\\",
                              "-",
                              "0",
                              "1",
                              "4",
                              "24",
                              "1e9",
                              "0.5",
                              "null",
                              "\\ud800",
                              "F32",
                              "F16",
                              "BF16",
                              "F64",
                              "I64",
                              "BOOL",
                              "dtype",
                              "shape",
                              " ",
                              "9223372036854775807",
                              "18446744073709551616",
                              "__metadata__",
                              "data_offsets"};

class Mutator {
 public:
  std::string mutate(std::string content, const std::vector<std::string>& seeds) {
    for (std::size_t steps = 1 + below(4); steps > 0; --steps) step(&content, seeds);
    return content;
  }

  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

 private:
  void step(std::string* content, const std::vector<std::string>& seeds) {
    const std::size_t at = below(content->size() + 1);
    switch (below(8)) {
      case 0: content->resize(at); break;
      case 1: content->insert(at, kWords[below(std::size(kWords))]); break;
      case 2: content->erase(at, 1 + below(8)); break;
      case 3: content->append(1 + below(32), static_cast<char>(below(256))); break;
      case 4: {  // a part of another file
        const std::string& other = seeds[below(seeds.size())];
        const std::size_t from = below(other.size() + 1);
        content->insert(at, other.substr(from, below(40)));
        break;
      }
      case 5: {  // the header's length
        const std::uint64_t length = below(2) == 0 ? below(200) : random_() >> below(64);
        for (std::size_t i = 0; i < 8 && i < content->size(); ++i) {
          (*content)[i] = static_cast<char>(length >> (8 * i) & 0xFF);
        }
        break;
      }
      case 6: fix_length(content); break;
      default:
        if (at < content->size()) (*content)[at] = static_cast<char>(below(256));
    }
  }

  // Makes the length fit the last '}' again, so that mutations behind the first bytes are looked at.
  static void fix_length(std::string* content) {
    const std::size_t end = content->rfind('}');
    if (end == std::string::npos || end < 8) return;
    for (std::size_t i = 0; i < 8; ++i) (*content)[i] = static_cast<char>((end - 7) >> (8 * i) & 0xFF);
  }

  std::mt19937_64 random_{20240502};
};

}  // namespace

int main(int argc, char** argv) {
  const long files = argc > 1 ? std::atol(argv[1]) : kFiles;
  const std::vector<std::string> seeds = evsam::fuzz::seed_files();
  std::vector<std::string> pool = seeds;
  std::set<std::string> kinds;  // of errors: messages without their numbers
  Mutator mutator;
  long accepted = 0;
  for (long i = 0; i < files; ++i) {
    const std::string content = mutator.mutate(pool[mutator.below(pool.size())], seeds);
    // A copy of exactly this size, so that a sanitizer sees the first byte that is read beyond it.
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[content.size()]);
    std::copy(content.begin(), content.end(), exact.get());
    std::string message;
    if (check_safetensors(exact.get(), content.size(), &message)) ++accepted;
    std::string kind;
    for (const char c : message.substr(0, message.find(", got"))) {
      if (c < '0' || c > '9') kind.push_back(c);
    }
    // Files that failed in a new way, or passed, are mutated further.
    if ((kinds.insert(kind).second || message.empty()) && pool.size() < 20'000 && content.size() < 4096) {
      pool.push_back(content);
    }
  }
  std::printf("%ld files, %ld accepted, %zu kinds of messages\n", files, accepted, kinds.size());
  // A fuzzer whose files are all refused, or all for one reason, tests nothing.
  return accepted > files / 1000 && kinds.size() > 30 ? EXIT_SUCCESS : EXIT_FAILURE;
}
