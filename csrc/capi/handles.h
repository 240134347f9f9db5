// What the files of the C interface share: the handles, what comes in and goes out, errors as codes, and the calls that
// others are made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "engine/arena_pool.h"
#include "engine/engine.h"
#include "engine/prompts.h"
#include "evsam/evsam.h"
#include "evsam/status.h"

// The handles; in no namespace, because the header declares them so.
struct evsam_model {
  std::uint64_t encoder = 0;  // digest of its encoder's weights
  std::unique_ptr<evsam::Engine> engine;
  std::string packed_cache;  // what became of it
  mutable evsam::ArenaPool scratch;
};

struct evsam_embedding {
  std::string variant;        // of the models that may read it
  std::uint64_t encoder = 0;  // and the digest of their encoders
  evsam::ImageSize original;  // 0 x 0 where it holds no image
  evsam::ImageSize resized;   // in the 1024 frame
  std::vector<evsam::MapShape> shapes;
  std::vector<evsam::AlignedBuffer<float>> maps;
  std::vector<float*> data;  // of the maps, as engines take them
};

namespace evsam::capi {

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

// Of a side of an image, in pixels: far beyond any use, and small enough for no size to overflow.
constexpr std::int64_t kLongestSide = std::int64_t{1} << 24;

// Keeps the message for evsam_last_error().
evsam_status fail(evsam_status code, const char* message) noexcept;

evsam_status code_of(const Status& status);

// A status with the code that C callers see.
struct Outcome {
  Outcome(const Status& s) : status(s), code(code_of(s)) {}  // NOLINT: every Status is an outcome
  Outcome(const Status& s, evsam_status c) : status(s), code(s.ok() ? EVSAM_OK : c) {}

  Status status;
  evsam_status code;
};

// The border: nothing is thrown across it.
template <typename Body>
evsam_status guarded(const Body& body) noexcept {
  try {
    const Outcome outcome = body();
    return outcome.code == EVSAM_OK ? EVSAM_OK : fail(outcome.code, outcome.status.message().c_str());
  } catch (const std::bad_alloc&) {
    return fail(EVSAM_OUT_OF_MEMORY, kNoMemory);
  } catch (const std::exception& error) {
    return fail(EVSAM_INTERNAL_ERROR, error.what());
  } catch (...) {
    return fail(EVSAM_INTERNAL_ERROR, "call: expected to end in order, got an unknown exception");
  }
}

inline Status invalid(const std::string& argument, const std::string& expected, const std::string& got) {
  return Status::invalid_argument(expected_got(argument, expected, got));
}

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

inline Status require(const void* pointer, const char* argument) {
  return pointer != nullptr ? Status() : invalid(argument, "a pointer", "NULL");
}

// Copies a structure of any version: members that an older caller does not know keep their defaults, members that this
// library does not know must be zero.
template <typename Struct>
Status read_struct(const Struct* given, const char* argument, Struct* out) {
  EVSAM_RETURN_IF_ERROR(require(given, argument));
  const std::size_t size = given->struct_size;
  if (size < sizeof(Struct)) {  // no version has had fewer members
    return invalid(std::string(argument) + ".struct_size", "at least " + std::to_string(sizeof(Struct)),
                   std::to_string(size));
  }
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(given);
  if (std::any_of(bytes + sizeof(Struct), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return Status::unavailable(expected_got(argument, "members that this version of the library knows", "newer ones"));
  }
  std::memcpy(out, given, sizeof(Struct));
  return Status();
}

// Fills a structure of any version that the caller will read: members that this library does not know become zero.
template <typename Struct>
Status write_struct(const Struct& written, const char* argument, Struct* out) {
  EVSAM_RETURN_IF_ERROR(require(out, argument));
  const std::size_t given = out->struct_size;
  if (given < sizeof(Struct)) {
    return invalid(std::string(argument) + ".struct_size", "at least " + std::to_string(sizeof(Struct)),
                   std::to_string(given));
  }
  std::memset(static_cast<void*>(out), 0, given);
  std::memcpy(out, &written, sizeof(written));
  out->struct_size = given;
  return Status();
}

// An image of any format as RGB, in memory that the model keeps for such images; it allocates nothing after the first.
class RgbImage {
 public:
  Status read(const evsam_model& model, const evsam_image* given);
  const ImageView& view() const { return view_; }

 private:
  ImageView view_;
  std::optional<ArenaPool::Lease> copy_;  // of the other formats
};

// That the model may read the embedding.
Status check_model(const evsam_model* model, const evsam_embedding* embedding);

// That there is an image in it.
Status check_filled(const evsam_embedding& embedding);

// See evsam.h. encode() allocates nothing.
Status create_embedding(const evsam_model* model, evsam_embedding** embedding);
Status encode(const evsam_model* model, const ImageView& image, evsam_embedding* embedding);
Status fill_embedding(evsam_embedding* embedding, std::int64_t height, std::int64_t width, std::int32_t count,
                      const float* const* maps, const std::int64_t* sizes);
Outcome predict(const evsam_model* model, const evsam_embedding* embedding, const evsam_prompts* given,
                std::uint8_t* masks, float* scores, float* logits);

// The counts and pointers, and how many masks each prompt gets; of what they point to, only labels are read.
Status read_kinds(const evsam_prompts* given, GivenPrompts<float, std::int32_t>* read, std::int64_t* masks_each);

}  // namespace evsam::capi
