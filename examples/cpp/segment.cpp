// Segments what a box frames in a photo, without Python:
//
//   segment nano.safetensors photo.ppm X0 Y0 X1 Y1 mask.pgm [overlay.ppm]
//
// Photos are binary PPM (P6, 8 bits), which needs no library; `convert photo.jpg photo.ppm` or Pillow makes one.
#include <cstdint>
#include <cstdlib>
#include <evsam/evsam.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ppm.h"

namespace {

// The photo with the mask half in red.
std::vector<std::uint8_t> draw(const Photo& photo, const std::uint8_t* mask) {
  constexpr int kRed[3] = {255, 40, 40};
  std::vector<std::uint8_t> drawn = photo.rgb;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    if (mask[i / 3] != 0) drawn[i] = static_cast<std::uint8_t>((drawn[i] + kRed[i % 3]) / 2);
  }
  return drawn;
}

float read_coordinate(const char* text) {
  char* end = nullptr;
  const float number = std::strtof(text, &end);
  if (end == text || *end != '\0') {
    throw std::runtime_error("X0 Y0 X1 Y1: expected numbers, got '" + std::string(text) + "'");
  }
  return number;
}

void segment(char** arguments, int count) {
  evsam::Prompts prompts;
  for (int i = 2; i < 6; ++i) prompts.boxes.push_back(read_coordinate(arguments[i]));
  const Photo photo = read_ppm(arguments[1]);

  const evsam::Model model(arguments[0]);
  const evsam::Embedding embedding = model.encode(photo.rgb.data(), photo.height, photo.width);
  const evsam::Prediction result = model.predict(embedding, prompts);

  const std::uint8_t* mask = result.mask(0, 0);
  std::vector<std::uint8_t> grey(photo.height * photo.width);
  std::size_t area = 0;
  for (std::size_t i = 0; i < grey.size(); ++i) {
    grey[i] = mask[i] != 0 ? 255 : 0;
    area += mask[i];
  }
  std::cout << model.variant() << ": score " << result.scores[0] << ", " << area << " pixels\n";
  write_image(arguments[6], "P5", photo, grey);
  if (count > 7) write_image(arguments[7], "P6", photo, draw(photo, mask));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8 && argc != 9) {
    std::cerr << "usage: segment WEIGHTS.safetensors PHOTO.ppm X0 Y0 X1 Y1 MASK.pgm [OVERLAY.ppm]\n";
    return 2;
  }
  try {
    segment(argv + 1, argc - 1);
  } catch (const std::exception& error) {
    std::cerr << "segment: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
