// The sixteen MXFP4 values under every scale, as bfloat16: exact, since they have two significant
// bits. A nibble is widened by looking it up, already scaled.
#pragma once
#include "scalar.h"

namespace ossia::OSSIA_ISA {

struct Mxfp4Bits {
  bf16 value[256][16];
  std::uint8_t bytes[256][2][16];  // the same, lower bytes and upper bytes: for byte shuffles

  constexpr Mxfp4Bits() : value{}, bytes{} {
    for (int scale = 0; scale < 256; ++scale) {
      for (int code = 0; code < 16; ++code) {
        const bf16 bits = static_cast<bf16>(size_bits(code & 7, scale) | (code & 8) << 12);
        value[scale][code] = bits;
        bytes[scale][0][code] = static_cast<std::uint8_t>(bits & 255);
        bytes[scale][1][code] = static_cast<std::uint8_t>(bits >> 8);
      }
    }
  }

  // code: 0 is zero, 1 is 1/2, then (1 or 1.5) * 2^(code/2 - 1); scale means 2^(scale - 127).
  static constexpr int size_bits(int code, int scale) {
    constexpr int kNan = 0x7fc0, kInfinity = 0x7f80;
    if (scale == 255) return kNan;
    if (code == 0) return 0;
    const int exponent = scale + (code == 1 ? -1 : code / 2 - 1);
    const int half = code > 1 && code % 2 ? 1 : 0;
    if (exponent >= 255) return kInfinity;
    if (exponent >= 1) return exponent << 7 | half << 6;
    return (2 + half) << (exponent + 5);  // below the normal numbers: exponent is 0 or -1
  }
};

constexpr Mxfp4Bits mxfp4_bits;

}  // namespace ossia::OSSIA_ISA
