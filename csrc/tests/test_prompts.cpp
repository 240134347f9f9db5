// The rules for prompts: where good ones land in the frame, and what is refused, by the cases that Python's and the C
// interface's tests read as well.
#include "engine/prompts.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "engine/architecture.h"

namespace {

using namespace evsam;

constexpr ImageSize kImage = {400, 600};
constexpr ImageSize kResized = {683, 1024};
constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    const std::size_t first = part.find_first_not_of(' ');
    parts.push_back(first == std::string::npos ? "" : part.substr(first, part.find_last_not_of(' ') - first + 1));
  }
  return parts;
}

// All numbers of a column, whatever stands between them; prompts: those that the column has.
std::vector<double> numbers(std::string text, std::int64_t* prompts) {
  std::vector<double> values;
  *prompts = text == "-" ? 0 : 1;
  if (text == "-") return values;
  for (char& c : text) {
    *prompts += c == '/';
    if (c == '/' || c == ',') c = ' ';
  }
  std::istringstream stream(text);
  for (std::string word; stream >> word;) values.push_back(std::strtod(word.c_str(), nullptr));  // knows nan and inf
  return values;
}

// Prompt i of a group against its text: x, y and label of each point.
void check_points(const PromptGroup& group, std::int64_t i, const std::string& expected, const std::string& line) {
  std::int64_t one = 0;
  const std::vector<double> wanted = numbers(expected, &one);
  CHECK_MSG(3 * group.points == static_cast<std::int64_t>(wanted.size()), line);
  for (std::size_t t = 0; 3 * t < wanted.size(); ++t) {
    const std::size_t at = static_cast<std::size_t>(i * group.points) + t;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const double got = static_cast<double>(group.xy[2 * at + axis]);
      CHECK_MSG(std::abs(got - wanted[3 * t + axis]) <= 1e-6 * wanted[3 * t + axis], line + ": " + std::to_string(got));
    }
    CHECK_MSG(group.labels[at] == wanted[3 * t + 2], line);
  }
}

template <typename Number, typename Label>
void check_case(const std::string& line) {
  const std::vector<std::string> columns = split(line, '|');
  CHECK_MSG(columns.size() >= 4, line);
  std::string expected = columns.size() > 4 ? columns[4] : "";
  GivenPrompts<Number, Label> given;
  std::int64_t labelled = 0;
  const std::vector<double> points = numbers(columns[0], &given.points_count);
  const std::vector<double> labels = numbers(columns[1], &labelled);
  const std::vector<double> boxes = numbers(columns[2], &given.boxes_count);
  const std::vector<double> values = numbers(columns[3], &given.masks_count);
  // Vectors of the exact size, so that a sanitizer sees what is read beyond them.
  const std::vector<Number> given_points(points.begin(), points.end());
  const std::vector<Label> given_labels(labels.begin(), labels.end());
  const std::vector<Number> given_boxes(boxes.begin(), boxes.end());
  std::vector<float> masks;
  for (double value : values) masks.insert(masks.end(), static_cast<std::size_t>(kPlane), static_cast<float>(value));
  if (!points.empty()) {
    given.points_each = static_cast<std::int64_t>(points.size()) / 2 / given.points_count;
    given.points = given_points.data();
  }
  if (!labels.empty()) given.labels = given_labels.data();
  if (!boxes.empty()) given.boxes = given_boxes.data();
  if (!masks.empty()) given.masks = masks.data();

  FramePrompts frame;
  const Status status = read_prompts(given, kImage, kResized, PromptNames(), &frame);
  if (expected.substr(0, 2) == "! ") {
    CHECK_MSG(status.message() == expected.substr(2), line + "\n  got " + status.message());
    return;
  }
  CHECK_MSG(status.ok(), line + "\n  got " + status.message());
  const std::size_t end = expected.find("; ambiguous");
  CHECK_MSG(frame.ambiguous == (end != std::string::npos), line);
  const std::string wanted = expected.substr(0, end);
  std::vector<std::string> prompts = split(wanted, '/');
  prompts.resize(1 + static_cast<std::size_t>(std::count(wanted.begin(), wanted.end(), '/')));  // the last may be empty
  CHECK_MSG(frame.count == static_cast<std::int64_t>(prompts.size()), line);
  std::size_t found = 0;
  std::int64_t fewest = -1;
  for (const PromptGroup& group : frame.groups) {
    CHECK_MSG(group.points > fewest, line);
    fewest = group.points;
    CHECK(static_cast<std::int64_t>(group.labels.size()) == group.count() * group.points);
    CHECK(static_cast<std::int64_t>(group.xy.size()) == 2 * group.count() * group.points);
    for (std::int64_t i = 0; i < group.count(); ++i, ++found) {
      const std::size_t row = static_cast<std::size_t>(group.rows[static_cast<std::size_t>(i)]);
      CHECK_MSG(i == 0 || group.rows[static_cast<std::size_t>(i - 1)] < group.rows[static_cast<std::size_t>(i)], line);
      CHECK_MSG(row < prompts.size(), line);
      if (row >= prompts.size()) return;
      check_points(group, i, prompts[row], line);
    }
  }
  CHECK_MSG(found == prompts.size(), line);
}

}  // namespace

int main() {
  std::ifstream file(EVSAM_PROMPT_CASES);
  int cases = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    check_case<float, std::int32_t>(line);
    check_case<double, double>(line);
    ++cases;
  }
  CHECK_MSG(cases > 40, "cases: " + std::to_string(cases));
  return evsam::test::test_result();
}
