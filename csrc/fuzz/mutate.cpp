// Mutations of a target's seeds for some seconds, the same ones in every run: what the tests run where there is no
// libFuzzer. Usage: mutate TARGET [N], the N-th part of the contents.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "fuzz/targets.h"

namespace {

using evsam::fuzz::Target;

class Mutator {
 public:
  explicit Mutator(const Target& target) : target_(target) {}

  std::string mutate(std::string content) {
    for (std::size_t steps = 1 + below(4); steps > 0; --steps) step(&content);
    return content;
  }

  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

 private:
  void step(std::string* content) {
    const std::size_t at = below(content->size() + 1);
    switch (below(target_.length_first ? 9 : 7)) {
      case 0: content->resize(at); break;
      case 1: content->insert(at, target_.words[below(target_.words.size())]); break;
      case 2: content->erase(at, 1 + below(8)); break;
      case 3: content->append(1 + below(32), static_cast<char>(below(256))); break;
      case 4: {  // a part of another file
        const std::string& other = target_.seeds[below(target_.seeds.size())];
        const std::size_t from = below(other.size() + 1);
        content->insert(at, other.substr(from, below(40)));
        break;
      }
      case 5: {  // another number
        const std::size_t digit = content->find_first_of("0123456789", at);
        if (digit != std::string::npos) (*content)[digit] = static_cast<char>('0' + below(10));
        break;
      }
      case 7: {  // the header's length
        const std::uint64_t length = below(2) == 0 ? below(200) : random_() >> below(64);
        for (std::size_t i = 0; i < 8 && i < content->size(); ++i) {
          (*content)[i] = static_cast<char>(length >> (8 * i) & 0xFF);
        }
        break;
      }
      case 8: fix_length(content); break;
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

  const Target& target_;
  std::mt19937_64 random_{20240502};
};

}  // namespace

int main(int argc, char** argv) {
  const Target* const target = argc > 1 ? evsam::fuzz::find_target(argv[1]) : nullptr;
  if (target == nullptr) return 2;
  const long contents = target->contents / (argc > 2 ? std::atol(argv[2]) : 1);
  std::vector<std::string> pool = target->seeds;
  std::set<std::string> kinds;  // of errors: messages without their numbers
  Mutator mutator(*target);
  long accepted = 0;
  for (long i = 0; i < contents; ++i) {
    const std::string content = mutator.mutate(pool[mutator.below(pool.size())]);
    // A copy of exactly this size, so that a sanitizer sees the first byte that is read beyond it.
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[content.size()]);
    std::copy(content.begin(), content.end(), exact.get());
    std::string message;
    if (target->check(exact.get(), content.size(), &message)) ++accepted;
    std::string kind;
    for (const char c : message.substr(0, message.find(", got"))) {
      if (c < '0' || c > '9') kind.push_back(c);
    }
    // Contents that failed in a new way, or passed, are mutated further.
    if ((kinds.insert(kind).second || message.empty()) && pool.size() < 20'000 && content.size() < 4096) {
      pool.push_back(content);
    }
  }
  std::printf("%s: %ld contents, %ld accepted, %zu kinds of messages\n", target->name, contents, accepted,
              kinds.size());
  return accepted > contents / 1000 && kinds.size() > target->kinds ? EXIT_SUCCESS : EXIT_FAILURE;
}
