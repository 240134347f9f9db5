// The compiled module evsam._C: a thin layer over csrc/core, csrc/ops and csrc/engine. Importing it starts no thread
// and reads no environment variable.
#include "bindings/bindings.h"
#include "bindings/kernels.h"
#include "bindings/unlocked.h"
#include "core/cpu.h"
#include "core/environment.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "core/thread_pool.h"
#include "narrow/narrow.h"
#include "probes/probes.h"

namespace py = pybind11;

namespace evsam::bindings {

#define EVSAM_OP(op) void bind_##op(py::module_& m);
#include "evsam_ops.inc"
#undef EVSAM_OP
void bind_engine(py::module_& m);
void bind_everything(py::module_& m);
void bind_track(py::module_& m);
void bind_masks(py::module_& m);
void bind_packed_op(py::module_& m);
void bind_prompts(py::module_& m);
void bind_safetensors(py::module_& m);

namespace {

py::dict cpu_feature_dict() {
  const CpuFeatures& cpu = cpu_features();
  py::dict features;
#if defined(__x86_64__)
  features["avx2"] = cpu.avx2;
  features["fma"] = cpu.fma;
  features["f16c"] = cpu.f16c;
  features["avx512f"] = cpu.avx512f;
  features["avx512bw"] = cpu.avx512bw;
  features["avx512dq"] = cpu.avx512dq;
  features["avx512vl"] = cpu.avx512vl;
  features["avx512vnni"] = cpu.avx512vnni;
  features["avx512_bf16"] = cpu.avx512_bf16;
  features["avx512_fp16"] = cpu.avx512_fp16;
  features["avx_vnni"] = cpu.avx_vnni;
  features["amx_bf16"] = cpu.amx_bf16;
  features["amx_int8"] = cpu.amx_int8;
#else
  features["neon"] = cpu.neon;
  features["fp16"] = cpu.fp16;
  features["dotprod"] = cpu.dotprod;
  features["i8mm"] = cpu.i8mm;
  features["bf16"] = cpu.bf16;
#endif
  return features;
}

py::list kernel_list() {
  py::list rows;
  for (const KernelInfo& row : list_kernels()) {
    py::dict entry;
    entry["name"] = row.name;
    entry["op"] = row.op;
    entry["dtype"] = dtype_name(row.dtype);
    entry["isa"] = isa_name(row.isa);
    entry["supported"] = isa_supported(row.isa);
    rows.append(entry);
  }
  return rows;
}

// Which kernel each precision but fp32 has here; None: it is computed in float32.
py::dict precision_dict() {
  Isa isa = Isa::scalar;
  check(selected_isa(&isa));
  py::dict kernels;
  for (const Precision precision : kAllPrecisions) {
    if (precision == Precision::fp32) continue;
    const narrow::Kernel* kernel = nullptr;
    check(narrow::kernel_for(precision, isa, &kernel));
    kernels[precision_name(precision)] = kernel == nullptr ? py::object(py::none()) : py::str(kernel->name);
  }
  return kernels;
}

// What "fast" is here, by the kind of a model's decoder.
py::dict fast_dict() {
  Isa isa = Isa::scalar;
  check(selected_isa(&isa));
  py::dict kinds;
  for (const bool lite : {false, true}) {
    Precision precision = Precision::fp32;
    check(narrow::fast_precision(isa, lite, &precision));
    kinds[lite ? "lite" : "sam"] = precision_name(precision);
  }
  return kinds;
}

py::list extension_list() {
  py::list rows;
  for (const narrow::Extension& each : narrow::extensions()) {
    py::dict row;
    row["name"] = each.kernel->name;
    row["precision"] = precision_name(each.kernel->precision);
    row["isa"] = isa_name(each.isa);
    row["supported"] = each.supported;
    row["keeps_masks"] = py::list();
    for (const bool lite : {false, true}) {
      if (narrow::keeps_masks(each.kernel->name, lite)) row["keeps_masks"].attr("append")(lite ? "lite" : "sam");
    }
    rows.append(row);
  }
  return rows;
}

}  // namespace

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, kNoMemory);
    }
  });
  m.doc() = "Compiled code of evsam. Use it through evsam.ops and evsam.engines.";
#if defined(__clang__)
  m.attr("compiler") = "Clang " __clang_version__;
#else
  m.attr("compiler") = "GCC " __VERSION__;
#endif
  m.def("cpu_features", &cpu_feature_dict, "Instruction sets the processor has and the operating system allows.");
  m.def(
      "selected_isa",
      [] {
        Isa isa = Isa::scalar;
        check(selected_isa(&isa));
        return isa_name(isa);
      },
      "Instruction set in use: that of EVSAM_ISA, or the best one.");
  m.def("usable_cpus", &usable_cpus, "Hardware threads this process may use.");
  m.def("get_num_threads", &default_threads, "Threads used where a call does not say.");
  m.def(
      "set_num_threads",
      [](const py::object& threads) {
        const int count = thread_count(threads);
        if (count == 0) throw py::type_error(expected_got("threads", "a whole number", "None"));
        set_default_threads(count);
      },
      py::arg("threads"), "Sets the threads used where a call does not say.");
  m.def(
      "pin_threads", [](bool pinned) { return default_pool().pin_workers(pinned); }, py::arg("pinned"),
      "Ties each worker thread to a processor of its own, or frees them again; False where the system cannot.");
  m.def(
      "drop_file_pages",
      [](const py::array& array) { drop_file_pages(array.data(), static_cast<std::size_t>(array.nbytes())); },
      py::arg("array"),
      "Gives pages back to the system that a contiguous array in a file mapped read-only has touched.");
  m.def(
      "hash_bytes",
      [](const py::array_t<float, py::array::c_style>& array) {
        const Unlocked unlocked;
        return hash_bytes(array.data(), static_cast<std::size_t>(array.nbytes()), 0);
      },
      py::arg("array").noconvert(), "64 bits of an array's numbers: tells arrays apart that differ by accident.");
  m.def(
      "packed_cache_environment",
      [] {
        using py::literals::operator""_a;
        PackedCacheEnvironment environment;
        check(packed_cache_of_environment(&environment));
        return py::dict("on"_a = environment.on, "folder"_a = environment.folder, "limit"_a = environment.limit);
      },
      "What the environment says about the cache of packed weights: on, folder, limit (bytes of all its files).");
  m.def("slept_seconds", &slept_seconds,
        "Seconds that the calling thread has slept so far until worker threads had finished their part.");
  m.def("kernels", &kernel_list, "Every kernel of this build.");
  m.def("narrow_kernels", &precision_dict,
        "For each precision but fp32 the extension whose kernels compute it here; None where float32 is faster.");

  m.def("fast_precisions", &fast_dict, "What the precision \"fast\" is here, by the kind of a model's decoder.");
  m.def(
      "narrow_extensions", &extension_list,
      "Every extension of this build that multiplies narrow numbers, and for which kinds of decoders it keeps masks.");

  m.def(
      "measure_fma_gflops",
      [](const std::string& isa_text, const py::object& threads_or_none, double seconds) {
        const Isa isa = kernels_named(isa_text).isa;
        const int threads = thread_count(threads_or_none);
        const Unlocked unlocked;
        return measure_fma_gflops(isa, threads, seconds);
      },
      py::arg("isa"), py::arg("threads"), py::arg("seconds") = 0.2,
      "Measured float32 fused multiply-add rate in GFLOP/s.");
  m.def(
      "measure_bandwidth_gbs",
      [](const std::string& isa_text, const py::object& threads_or_none, std::int64_t bytes, double seconds) {
        const Isa isa = kernels_named(isa_text).isa;
        const int threads = thread_count(threads_or_none);
        if (bytes < 1) throw py::value_error(expected_got("bytes", "a number >= 1", std::to_string(bytes)));
        const Unlocked unlocked;
        return measure_bandwidth_gbs(isa, threads, bytes, seconds);
      },
      py::arg("isa"), py::arg("threads"), py::arg("bytes"), py::arg("seconds") = 0.2,
      "Measured memory rate in GB/s, three reads to one write over `bytes` bytes in all.");

  bind_engine(m);
  bind_everything(m);
  bind_track(m);
  bind_masks(m);
  bind_packed_op(m);
  bind_prompts(m);
  bind_safetensors(m);
#define EVSAM_OP(op) bind_##op(m);
#include "evsam_ops.inc"
#undef EVSAM_OP
}

}  // namespace evsam::bindings
