// The law of tiled products, in portable C++.
#pragma once
#include <math.h>

#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

// 2 * value + 12 of each MXFP4 code.
constexpr std::int32_t kTable[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

// Of the sizes. Bits of positive floats stand in order, those of what is no number above all.
inline float largest_of_block(const float* x) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < kTileBlock; ++i) {
    const std::uint32_t size = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  return float_of(largest);
}

// out = x * factor, to the nearest, ties to even, from -127 to 127; their sum. What is no number
// may become any: its block's scale says so.
inline std::int32_t round_to_int8(const float* x, float factor, std::int8_t* out) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < kTileBlock; ++i) {
    const float scaled = x[i] * factor;
    const float whole = ::fabsf(scaled) < 128 ? ::rintf(scaled) : 0;
    out[i] = static_cast<std::int8_t>(whole);
    sum += out[i];
  }
  return sum;
}

inline float power_of_two(std::uint8_t scale) {
  return float_of(static_cast<std::uint32_t>(scale) << 23);
}

inline float widen_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 0) return float_of(sign) + static_cast<float>(fraction) * 0x1p-24f;
  return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

// total[t][r] += (whole number of row r, token t) * (scale of the row) * (scale of the token)
template <class Dot>
inline void add_block(const float* scale_R, const Pass& pass, std::size_t j, const Dot& dot,
                      GroupTotals& total) {
  for (std::size_t t = 0; t < pass.tokens; ++t) {
    const std::size_t block = j * pass.tokens + t;
    const std::int8_t* x = pass.value + block * kTileBlock;
    for (std::size_t r = 0; r < kGroup; ++r) {
      const float start = j ? total[t][r] : 0;
      const auto whole = static_cast<float>(dot(r, x, block));
      total[t][r] = ::fmaf(whole, scale_R[r] * pass.scale[block], start);
    }
  }
}

inline void dot_packed(const std::uint8_t* values, const std::uint8_t* scales, std::size_t blocks,
                       const Pass& pass, GroupTotals& total) {
  for (std::size_t j = 0; j < blocks; ++j, values += kPackedTile, scales += kGroup) {
    float scale_R[kGroup];
    for (std::size_t r = 0; r < kGroup; ++r) scale_R[r] = power_of_two(scales[r]);
    const auto dot = [&](std::size_t r, const std::int8_t* x, std::size_t block) {
      std::int32_t sum = pass.offset[block];
      for (std::size_t i = 0; i < kTileBlock; ++i) {
        const std::uint8_t byte = values[64 * (i / 8) + 4 * r + i % 4];
        sum += kTable[i & 4 ? byte >> 4 : byte & 15] * x[i];
      }
      return sum;
    };
    add_block(scale_R, pass, j, dot, total);
  }
}

inline void dot_int8(const std::int8_t* values, const std::uint16_t* scales, std::size_t blocks,
                     const Pass& pass, GroupTotals& total) {
  for (std::size_t j = 0; j < blocks; ++j, values += kInt8Tile, scales += kGroup) {
    float scale_R[kGroup];
    for (std::size_t r = 0; r < kGroup; ++r) scale_R[r] = widen_half(scales[r]);
    const auto dot = [&](std::size_t r, const std::int8_t* x, std::size_t) {
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < kTileBlock; ++i) {
        sum += values[64 * (i / 4) + 4 * r + i % 4] * x[i];
      }
      return sum;
    };
    add_block(scale_R, pass, j, dot, total);
  }
}

}  // namespace
}  // namespace ossia::OSSIA_ISA
