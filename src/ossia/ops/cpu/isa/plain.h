// Four floats in portable C++: what any compiler can build for any machine. No fused multiply-add.
#pragma once
#include "mxfp4_bits.h"

namespace ossia::OSSIA_ISA {

constexpr std::size_t W = 4;

struct Vec {
  float lane[W];
};

template <class Function>
inline Vec each(Function function) {
  Vec out;
  for (std::size_t i = 0; i < W; ++i) out.lane[i] = function(i);
  return out;
}

inline Vec set1(float x) {
  return each([=](std::size_t) { return x; });
}
inline Vec load(const float* x) {
  return each([=](std::size_t i) { return x[i]; });
}
inline Vec load(const bf16* x) {
  return each([=](std::size_t i) { return widen(x[i]); });
}
inline void store(float* out, Vec x) {
  for (std::size_t i = 0; i < W; ++i) out[i] = x.lane[i];
}
inline Vec add(Vec a, Vec b) {
  return each([&](std::size_t i) { return a.lane[i] + b.lane[i]; });
}
inline Vec sub(Vec a, Vec b) {
  return each([&](std::size_t i) { return a.lane[i] - b.lane[i]; });
}
inline Vec mul(Vec a, Vec b) {
  return each([&](std::size_t i) { return a.lane[i] * b.lane[i]; });
}
inline Vec div(Vec a, Vec b) {
  return each([&](std::size_t i) { return a.lane[i] / b.lane[i]; });
}
inline float fma(float a, float b, float c) { return a * b + c; }
inline Vec fma(Vec a, Vec b, Vec c) {
  return each([&](std::size_t i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
// Of a bound and a value; a value that is no number stays so.
inline Vec min(Vec bound, Vec x) {
  return each([&](std::size_t i) { return bound.lane[i] < x.lane[i] ? bound.lane[i] : x.lane[i]; });
}
inline Vec max(Vec bound, Vec x) {
  return each([&](std::size_t i) { return bound.lane[i] > x.lane[i] ? bound.lane[i] : x.lane[i]; });
}
// 2^n for whole n from -126 to 127.
inline Vec pow2(Vec n) {
  return each([&](std::size_t i) {
    const float whole = n.lane[i];
    return whole == whole
               ? float_of(static_cast<std::uint32_t>(static_cast<int>(whole) + 127) << 23)
               : whole;
  });
}
inline float sum(Vec x) { return (x.lane[0] + x.lane[2]) + (x.lane[1] + x.lane[3]); }
inline float largest(Vec x) {
  float top = x.lane[0];
  for (std::size_t i = 1; i < W; ++i) top = top > x.lane[i] ? top : x.lane[i];
  return top;
}

inline void widen_block(const std::uint8_t* block, std::uint8_t scale, Vec* out) {
  const std::uint16_t* value = mxfp4_bits.value[scale];
  for (std::size_t v = 0; v < 32 / W; ++v) {
    for (std::size_t i = 0; i < W; ++i) {
      const std::size_t column = v * W + i;
      const unsigned code = column % 2 ? block[column / 2] >> 4 : block[column / 2] & 15;
      out[v].lane[i] = widen(value[code]);
    }
  }
}
constexpr bool kArranges = false;
inline void arrange16(const float*, float*) {}

}  // namespace ossia::OSSIA_ISA
