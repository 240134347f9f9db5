// A cache of packed weights on disk: what an encoder's steps made of its weights, one file for each encoder, precision
// and kind of kernels. The file is mapped, so that packed weights cost neither packing nor new pages, and all processes
// that load the model share them.
//
// Nothing in it is believed before it was checked: the folder and its files must be this user's, writable by nobody
// else; the header must say that this very build made the file from these weights; and the sums of everything must be
// right, for files are renamed into place without waiting for the disk. What does not fit is made again and replaced.
// Nothing here is an error of loading a model: without a file it packs its weights.
//
// Files are replaced and removed, never written to: whoever has one mapped keeps it. (A file that somebody cuts short
// in place ends the processes that have it mapped, as with any mapping.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/mapped_file.h"
#include "core/precision.h"
#include "engine/architecture.h"
#include "engine/graph.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

struct PackedCacheOptions {
  enum class Use : std::uint8_t { environment, on, off };

  // Encoders with fewer bytes of weights are packed in less time than anybody notices: on a virtual machine with
  // AVX-512 nano's (6 MB) took 20 ms of processor time, and 10 ms from a file; l0's (123 MB) 570 ms, and 70 ms.
  static constexpr std::size_t kLeastBytes = std::size_t{32} << 20;

  Use use = Use::environment;             // environment: as EVSAM_PACKED_CACHE says (core/environment.h)
  std::string folder;                     // made where it is missing; empty: that of the environment
  std::size_t least_bytes = kLeastBytes;  // of the encoder's tensors
};

// What became of it.
struct PackedCacheReport {
  enum class State : std::uint8_t {
    off,      // not asked for
    small,    // the encoder is too small
    read,     // the weights are those of the file
    written,  // they were packed, and the file was made
    busy,     // they were packed, and no file was made, because another process made one in the folder just then
    failed,   // they were packed, and there is no file: `problem` says why
  };
  State state = State::off;
  std::string path;     // of the file that was read or written
  std::string problem;  // "<path>: expected ..., got ..."
};

const char* packed_state_name(PackedCacheReport::State state);

// The packed weights of one encoder.
class PackedWeights {
 public:
  // Loads and checks a graph of make_encoder() with so many threads: from the cache or by packing. This object must
  // live as long as the graph.
  Status load(const PackedCacheOptions& options, const VariantConfig& config, const TensorTable& tensors,
              Precision precision, int threads, Graph* graph);

  const PackedCacheReport& report() const { return report_; }

 private:
  MappedFile file_;
  PackedCacheReport report_;
};

}  // namespace evsam
