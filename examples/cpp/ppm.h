// Photos as binary PPM (P6, 8 bits) and masks as PGM, which need no library.
#pragma once

#include <cstdint>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

struct Photo {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)
};

// A number of a PPM header; comments reach from # to the end of the line.
inline std::size_t read_number(std::istream& file) {
  while ((file >> std::ws).peek() == '#') file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  std::size_t number = 0;
  file >> number;
  return number;
}

// Reads into a photo that may have been used before; its memory is taken again where it is large enough.
inline void read_ppm(std::istream& file, const std::string& path, Photo* photo) {
  constexpr std::size_t kLongestSide = 1 << 15;
  char magic[2] = {};
  file.read(magic, 2);
  photo->width = read_number(file);
  photo->height = read_number(file);
  const std::size_t brightest = read_number(file);
  file.get();  // one white space ends the header
  if (!file || magic[0] != 'P' || magic[1] != '6' || brightest != 255 || photo->width > kLongestSide ||
      photo->height > kLongestSide) {
    throw std::runtime_error(path + ": expected a binary PPM file with 8 bits per channel");
  }
  photo->rgb.resize(photo->height * photo->width * 3);
  file.read(reinterpret_cast<char*>(photo->rgb.data()), static_cast<std::streamsize>(photo->rgb.size()));
  if (!file) throw std::runtime_error(path + ": expected more pixels");
}

inline Photo read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Photo photo;
  read_ppm(file, path, &photo);
  return photo;
}

inline void write_image(const std::string& path, const char* magic, const Photo& size,
                        const std::vector<std::uint8_t>& data) {
  std::ofstream file(path, std::ios::binary);
  file << magic << "\n" << size.width << " " << size.height << "\n255\n";
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}
