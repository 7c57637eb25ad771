// Which versions of the kernels this machine can run; and what needs no instruction set.
#include "kernels.h"

namespace ossia {

#define OSSIA_DECLARE(isa)      \
  namespace isa {               \
  extern const Kernels kernels; \
  }
OSSIA_DECLARE(plain)
#ifdef OSSIA_X86
OSSIA_DECLARE(avx2)
OSSIA_DECLARE(avx512)
#endif
#ifdef OSSIA_ARM64
OSSIA_DECLARE(neon)
#endif

namespace {

struct Choice {
  const Kernels* list[4] = {};

  Choice() {
    const Kernels** next = list;
#ifdef OSSIA_X86
    __builtin_cpu_init();  // also asks whether the system saves the wide registers
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
      *next++ = &avx512::kernels;
    }
    if (has_avx2) *next++ = &avx2::kernels;
#endif
#ifdef OSSIA_ARM64
    *next++ = &neon::kernels;
#endif
    *next = &plain::kernels;
  }
};

}  // namespace

const Kernels* const* kernels_here() {
  static const Choice choice;
  return choice.list;
}

Matrix Matrix::operator[](std::size_t n) const {
  const std::size_t count = n * rows * columns;
  const auto* bytes = static_cast<const std::uint8_t*>(values);
  switch (format) {
    case Format::f32:
      return {format, bytes + count * sizeof(float), nullptr, rows, columns};
    case Format::bf16:
      return {format, bytes + count * sizeof(bf16), nullptr, rows, columns};
    case Format::mxfp4:
      break;
  }
  return {format, bytes + count / 2, scales + count / 32, rows, columns};
}

}  // namespace ossia
