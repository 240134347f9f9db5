// The result of a call that can fail. Library code never throws, prints or exits: it returns a Status, and the layer
// that faces the user (Python binding, C interface, plugin) turns a bad one into that layer's kind of error.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace evsam {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // a shape, size or value; Python: ValueError
  kInvalidType,      // a dtype; Python: TypeError
  kUnavailable,      // a kernel or instruction set this machine or build does not have; Python: BackendUnavailable
  kOutOfMemory,      // the system has not given any; Python: MemoryError
};

inline constexpr char kNoMemory[] = "memory: expected enough for this call, got none from the system";

class [[nodiscard]] Status {
 public:
  Status() = default;

  static Status invalid_argument(std::string message) {
    return Status(StatusCode::kInvalidArgument, std::move(message));
  }
  static Status invalid_type(std::string message) { return Status(StatusCode::kInvalidType, std::move(message)); }
  static Status unavailable(std::string message) { return Status(StatusCode::kUnavailable, std::move(message)); }

  static Status out_of_memory() { return Status(StatusCode::kOutOfMemory, kNoMemory); }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// "qkv: expected a token stride of 1, got 3". Every message of the library has this form.
std::string expected_got(const std::string& argument, const std::string& expected, const std::string& got);

// "(2, 16, 96, 256)".
std::string shape_string(const std::int64_t* shape, int ndim);

}  // namespace evsam

#define EVSAM_RETURN_IF_ERROR(expression)          \
  do {                                             \
    ::evsam::Status evsam_status_ = (expression);  \
    if (!evsam_status_.ok()) return evsam_status_; \
  } while (false)
