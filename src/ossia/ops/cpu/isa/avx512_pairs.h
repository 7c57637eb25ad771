// Keys and values by pairs, AVX-512 F and BW.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kMostRows = 8;

// The first or the second of W pairs.
inline Vec load_even(const bf16* pair) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pair), 16));
}
inline Vec load_odd(const bf16* pair) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(~0xffffu));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pair), upper));
}

using Whole = __m512i;  // W int32, or as many pairs of int16
inline Whole whole_zero() { return _mm512_setzero_si512(); }
inline Whole load_pairs(const std::int8_t* pair) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(pair)));
}
inline Whole set_pair(const std::int16_t* pair) {
  std::int32_t both;
  __builtin_memcpy(&both, pair, sizeof both);
  return _mm512_set1_epi32(both);
}
// sum + a[0] * b[0] + a[1] * b[1] of each pair.
inline Whole add_products(Whole a, Whole b, Whole sum) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
inline Vec floats(Whole x) { return _mm512_cvtepi32_ps(x); }
// To the nearest whole numbers, which fit.
inline void store_rounded(std::int16_t* out, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}

}  // namespace ossia::OSSIA_ISA
