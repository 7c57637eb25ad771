// Keys and values by pairs, AVX2.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kMostRows = 4;  // 4 x 2 sums, and room for what they are made of

// The first or the second of W pairs.
inline Vec load_even(const bf16* pair) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pair));
  return _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
}
inline Vec load_odd(const bf16* pair) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pair));
  return _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(~0xffffu))));
}

using Whole = __v8si;  // W int32; or as many pairs of int16, which are the same bits
inline Whole whole_zero() { return Whole{}; }
inline Whole load_pairs(const std::int8_t* pair) {
  return Whole(_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pair))));
}
inline Whole set_pair(const std::int16_t* pair) {
  std::int32_t both;
  __builtin_memcpy(&both, pair, sizeof both);
  return Whole(_mm256_set1_epi32(both));
}
// sum + a[0] * b[0] + a[1] * b[1] of each pair.
inline Whole add_products(Whole a, Whole b, Whole sum) {
  return sum + Whole(_mm256_madd_epi16(__m256i(a), __m256i(b)));
}
inline Vec floats(Whole x) { return _mm256_cvtepi32_ps(__m256i(x)); }
// To the nearest whole numbers, which fit.
inline void store_rounded(std::int16_t* out, Vec x) {
  const __m256i whole = _mm256_cvtps_epi32(x);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(out),
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}

}  // namespace ossia::OSSIA_ISA
