// Follows what a box frames in the first frame, without Python:
//
//   track nano.safetensors frames/ X0 Y0 X1 Y1
//
// frames/ holds binary PPM files of one size, in the order of their names: `ffmpeg -i video.mp4 frames/%05d.ppm`. Of
// each frame the object's number, box and score are printed, and whether it is lost. The loop allocates nothing: what
// it needs is there after the first frames, so that no frame waits for memory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <evsam/evsam.hpp>
#include <filesystem>
#include <iostream>
#include <istream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <vector>

#include "ppm.h"

namespace {

// The files of a folder, one after the other, in the place of a camera. std::ifstream would allocate for each file.
class Frames : private std::streambuf {
 public:
  explicit Frames(const std::string& folder) : stream_(this) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".ppm") paths_.push_back(entry.path().string());
    }
    if (paths_.empty()) throw std::runtime_error(folder + ": expected PPM files, got none");
    std::sort(paths_.begin(), paths_.end());
  }
  ~Frames() override { close_file(); }
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;

  // False behind the last one.
  bool next(Photo* photo) {
    if (position_ == paths_.size()) return false;
    const std::string& path = paths_[position_++];
    close_file();
    file_ = open(path.c_str(), O_RDONLY);
    if (file_ < 0) throw std::runtime_error(path + ": cannot be read");
    setg(nullptr, nullptr, nullptr);
    stream_.clear();
    read_ppm(stream_, path, photo);
    return true;
  }

 private:
  int_type underflow() override {
    const ssize_t count = read(file_, buffer_, sizeof(buffer_));
    if (count <= 0) return traits_type::eof();
    setg(buffer_, buffer_, buffer_ + count);
    return traits_type::to_int_type(*gptr());
  }

  void close_file() {
    if (file_ >= 0) close(file_);
    file_ = -1;
  }

  std::istream stream_;
  std::vector<std::string> paths_;
  std::size_t position_ = 0;
  int file_ = -1;
  char buffer_[1 << 16];
};

float read_coordinate(const char* text) {
  char* end = nullptr;
  const float number = std::strtof(text, &end);
  if (end == text || *end != '\0') {
    throw std::runtime_error("X0 Y0 X1 Y1: expected numbers, got '" + std::string(text) + "'");
  }
  return number;
}

evsam_image image_of(const Photo& photo) {
  evsam_image image = EVSAM_IMAGE_INIT;
  image.pixels = photo.rgb.data();
  image.height = static_cast<std::int64_t>(photo.height);
  image.width = static_cast<std::int64_t>(photo.width);
  return image;
}

void follow(char** arguments) {
  evsam::Prompts prompts;
  for (int i = 2; i < 6; ++i) prompts.boxes.push_back(read_coordinate(arguments[i]));
  Frames frames(arguments[1]);
  Photo photo;
  frames.next(&photo);

  const evsam::Model model(arguments[0]);
  evsam::Tracker tracker(model);
  const std::int64_t id = tracker.add(image_of(photo), prompts);
  std::vector<std::uint8_t> mask(photo.height * photo.width);
  for (int number = 1; frames.next(&photo); ++number) {
    tracker.step(image_of(photo));
    const evsam_track track = tracker[id];
    tracker.mask_into(id, mask.data());
    const auto area = static_cast<long>(std::count(mask.begin(), mask.end(), std::uint8_t{1}));
    std::printf("frame %d: object %ld, box %.1f %.1f %.1f %.1f, %ld pixels, score %.4f%s\n", number,
                static_cast<long>(track.id), static_cast<double>(track.box[0]), static_cast<double>(track.box[1]),
                static_cast<double>(track.box[2]), static_cast<double>(track.box[3]), area,
                static_cast<double>(track.score), track.lost > 0 ? ", lost" : "");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::cerr << "usage: track WEIGHTS.safetensors FRAMES X0 Y0 X1 Y1\n";
    return 2;
  }
  try {
    follow(argv + 1);
  } catch (const std::exception& error) {
    std::cerr << "track: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
