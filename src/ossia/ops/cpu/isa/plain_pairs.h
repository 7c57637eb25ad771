// Keys and values by pairs, in portable C++.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kMostRows = 4;

// The first or the second of W pairs.
inline Vec load_even(const bf16* pair) {
  return each([=](std::size_t i) { return widen(pair[2 * i]); });
}
inline Vec load_odd(const bf16* pair) { return load_even(pair + 1); }

struct Whole {
  std::int32_t first[W], second[W];  // a sum uses `first` alone
};
inline Whole whole_zero() { return {}; }
inline Whole load_pairs(const std::int8_t* pair) {
  Whole out;
  for (std::size_t i = 0; i < W; ++i) {
    out.first[i] = pair[2 * i];
    out.second[i] = pair[2 * i + 1];
  }
  return out;
}
inline Whole set_pair(const std::int16_t* pair) {
  Whole out;
  for (std::size_t i = 0; i < W; ++i) {
    out.first[i] = pair[0];
    out.second[i] = pair[1];
  }
  return out;
}
// sum + a[0] * b[0] + a[1] * b[1] of each pair.
inline Whole add_products(Whole a, Whole b, Whole sum) {
  for (std::size_t i = 0; i < W; ++i) {
    sum.first[i] += a.first[i] * b.first[i] + a.second[i] * b.second[i];
  }
  return sum;
}
inline Vec floats(Whole x) {
  return each([&](std::size_t i) { return static_cast<float>(x.first[i]); });
}
// To the nearest whole numbers, which fit; what is no number becomes 0.
inline void store_rounded(std::int16_t* out, Vec x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding and taking it away rounds
  for (std::size_t i = 0; i < W; ++i) {
    const float whole = x.lane[i] + kMagic - kMagic;
    out[i] = static_cast<std::int16_t>(whole == whole ? static_cast<int>(whole) : 0);
  }
}

}  // namespace ossia::OSSIA_ISA
