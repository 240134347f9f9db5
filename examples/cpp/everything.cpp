// Finds everything in a photo, without Python:
//
//   everything nano.safetensors photo.ppm labels.ppm [POINTS_PER_SIDE]
//
// writes a picture with a colour for each mask, smaller masks above larger ones, and prints what is known of the masks.
#include <cstdint>
#include <cstdlib>
#include <evsam/evsam.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ppm.h"

namespace {

// Colours that neighbours in the list do not share: steps of the golden angle around a circle of colours.
std::vector<std::uint8_t> draw(const Photo& photo, const std::vector<std::int32_t>& labels) {
  std::vector<std::uint8_t> drawn(photo.rgb.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const std::int32_t label = labels[i / 3];
    if (label == 0) continue;  // black where nothing was found
    const auto turn = static_cast<std::uint32_t>(label) * 158U + static_cast<std::uint32_t>(i % 3) * 85U;
    const std::uint32_t place = turn % 256U;
    drawn[i] = static_cast<std::uint8_t>(64U + (place < 128U ? place : 255U - place) * 3U / 2U);
  }
  return drawn;
}

std::int64_t read_count(const char* text) {
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || number < 1) {
    throw std::runtime_error("POINTS_PER_SIDE: expected a number from 1 on, got '" + std::string(text) + "'");
  }
  return number;
}

void find_everything(char** arguments, int count) {
  evsam::EverythingOptions options;
  if (count > 3) options.points_per_side = read_count(arguments[3]);
  const Photo photo = read_ppm(arguments[1]);
  evsam_image image = EVSAM_IMAGE_INIT;
  image.pixels = photo.rgb.data();
  image.height = static_cast<std::int64_t>(photo.height);
  image.width = static_cast<std::int64_t>(photo.width);

  const evsam::Model model(arguments[0]);
  options.progress = [](std::int64_t done, std::int64_t total) {
    std::cerr << "\r" << done << " of " << total << " points" << (done == total ? "\n" : "") << std::flush;
    return true;  // false would end the search
  };
  const evsam::Segments found = model.everything(image, options);

  std::cout << found.size() << " masks\n";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const evsam_segment segment = found[i];
    std::cout << i + 1 << ": " << segment.area << " pixels in " << segment.box[0] << " " << segment.box[1] << " "
              << segment.box[2] << " " << segment.box[3] << ", predicted IoU " << segment.predicted_iou
              << ", stability " << segment.stability_score << "\n";
  }
  write_image(arguments[2], "P6", photo, draw(photo, found.labels()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::cerr << "usage: everything WEIGHTS.safetensors PHOTO.ppm LABELS.ppm [POINTS_PER_SIDE]\n";
    return 2;
  }
  try {
    find_everything(argv + 1, argc - 1);
  } catch (const std::exception& error) {
    std::cerr << "everything: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
