// Which versions of the kernels this machine can run; and what needs no instruction set.
#include "kernels.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace ossia {

namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}
namespace plain {
extern const Kernels kernels;
}

namespace {

struct Choice {
  const Kernels* list[5] = {};

  Choice() {
    const Kernels** next = list;
#ifdef OSSIA_HAS_avx512
    if (has_avx512()) *next++ = &avx512::kernels;
#endif
#ifdef OSSIA_HAS_avx2
    if (has_avx2()) *next++ = &avx2::kernels;
#endif
#ifdef OSSIA_HAS_neon
    if (has_neon()) *next++ = &neon::kernels;
#endif
#ifdef OSSIA_HAS_plain
    *next++ = &plain::kernels;
#endif
    *next = nullptr;
  }

 private:
#if defined(OSSIA_HAS_avx2) || defined(OSSIA_HAS_avx512)
  static bool has_avx2() {
    __builtin_cpu_init();  // also asks whether the system saves the wide registers
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  }
#endif
#ifdef OSSIA_HAS_avx512
  static bool has_avx512() {
#ifdef OSSIA_EMULATE_AVX512
    return has_avx2();
#else
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#endif
  }
#endif
#ifdef OSSIA_HAS_neon
  static bool has_neon() {
#if defined(__APPLE__)
    return true;  // every Mac with such a processor
#elif defined(__linux__)
    return getauxval(AT_HWCAP) & (1ul << 20);  // HWCAP_ASIMDDP, in the kernel's list for arm64
#else
    return false;
#endif
  }
#endif
};

}  // namespace

const Kernels* const* kernels_here() {
  static const Choice choice;
  return choice.list;
}

Matrix Matrix::operator[](std::size_t n) const {
  const std::size_t numbers = is_tiled() ? groups * blocks() * 512 : rows * columns;
  std::size_t bytes = 0, scale_bytes = 0;
  switch (format) {
    case Format::f32:
      bytes = numbers * sizeof(float);
      break;
    case Format::bf16:
      bytes = numbers * sizeof(bf16);
      break;
    case Format::mxfp4:
    case Format::tiled_mxfp4:
      bytes = numbers / 2;
      scale_bytes = numbers / 32;
      break;
    case Format::tiled_int8:
      bytes = numbers;
      scale_bytes = numbers / 16;
      break;
  }
  Matrix one = *this;
  one.values = static_cast<const std::uint8_t*>(values) + n * bytes;
  if (scales) one.scales = static_cast<const std::uint8_t*>(scales) + n * scale_bytes;
  return one;
}

}  // namespace ossia
