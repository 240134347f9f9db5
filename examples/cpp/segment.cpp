// Segments what a box frames in a photo, without Python:
//
//   segment nano.safetensors photo.ppm X0 Y0 X1 Y1 mask.pgm [overlay.ppm]
//
// Photos are binary PPM (P6, 8 bits), which needs no library; `convert photo.jpg photo.ppm` or Pillow makes one.
#include <cstdint>
#include <cstdlib>
#include <evsam/evsam.hpp>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Photo {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)
};

// A number of a PPM header; comments reach from # to the end of the line.
std::size_t read_number(std::istream& file) {
  while ((file >> std::ws).peek() == '#') file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  std::size_t number = 0;
  file >> number;
  return number;
}

Photo read_ppm(const std::string& path) {
  constexpr std::size_t kLongestSide = 1 << 15;
  std::ifstream file(path, std::ios::binary);
  std::string magic(2, ' ');
  file.read(magic.data(), 2);
  Photo photo;
  photo.width = read_number(file);
  photo.height = read_number(file);
  const std::size_t brightest = read_number(file);
  file.get();  // one white space ends the header
  if (!file || magic != "P6" || brightest != 255 || photo.width > kLongestSide || photo.height > kLongestSide) {
    throw std::runtime_error(path + ": expected a binary PPM file with 8 bits per channel");
  }
  photo.rgb.resize(photo.height * photo.width * 3);
  file.read(reinterpret_cast<char*>(photo.rgb.data()), static_cast<std::streamsize>(photo.rgb.size()));
  if (!file) throw std::runtime_error(path + ": expected more pixels");
  return photo;
}

void write_image(const std::string& path, const char* magic, const Photo& size, const std::vector<std::uint8_t>& data) {
  std::ofstream file(path, std::ios::binary);
  file << magic << "\n" << size.width << " " << size.height << "\n255\n";
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

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
